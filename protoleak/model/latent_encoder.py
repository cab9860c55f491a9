"""Latent encoders: uint8 images → z0, the latent that is noised. Frozen; never trained here except by distillation.

A latent encoder is one of
- diffusers' `AutoencoderKL` (z0 = posterior mean × scaling factor, never a sample) or `AutoencoderTiny`,
- the project's own `LightEncoder`,
- any ONNX file that maps a float NCHW image to a latent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from protoleak.diffusion import Float32Array
from protoleak.errors import CheckpointError, EngineError, MissingExtra
from protoleak.model.light_encoder import CLASS_NAME as LIGHT_CLASS_NAME
from protoleak.model.light_encoder import LightEncoder
from protoleak.model.onnx_latent_encoder import ONNX_FILE, SETTINGS_FILE, OnnxLatentEncoder, OnnxSettings

UInt8Array = npt.NDArray[np.uint8]
CONFIG_FILE = "config.json"
PIPELINE_FILE = "model_index.json"
VAE_FOLDER = "vae"
KL_CLASS, TINY_CLASS = "AutoencoderKL", "AutoencoderTiny"


class LatentEncoder(Protocol):
    """What training and export need of a latent encoder.

    Attributes:
        kind: "autoencoder_kl", "autoencoder_tiny", "light_encoder" or "onnx".
        fingerprint: SHA-256 (hex) of everything that z0 depends on: weights and settings.
    """

    @property
    def kind(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(self, images: UInt8Array) -> Float32Array:
        """uint8 [N, S, S, 3] → z0 float32 [N, C, h, w]. Raises EngineError where z0 is not finite."""

    def latent_shape(self, image_size: int) -> tuple[int, int, int]:
        """(C, h, w) of the latent of an image of side `image_size`.

        Raises:
            CheckpointError: the encoder does not take images of that size.
        """

    def save(self, directory: Path) -> None:
        """Writes a copy that `load_latent_encoder(directory)` reads, with nothing left elsewhere."""


class EncoderModule(nn.Module):
    """uint8 [N, S, S, 3] → z0 float32 [N, C, h, w], the graph that is exported.

    Scaling to [-1, 1] and the transpose are inside; nothing in it is random.

    Attributes:
        encoder: float32 [N, 3, S, S] in [-1, 1] → moments or latent.
        projection: the `quant_conv` of an AutoencoderKL, or the identity.
        latent_channels: C; channels past these are the posterior's log variance and are cut off.
        scaling: factor on the latent.
    """

    def __init__(self, encoder: nn.Module, projection: nn.Module, latent_channels: int, scaling: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = projection
        self.latent_channels = latent_channels
        self.scaling = scaling

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pixels = image.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        moments: torch.Tensor = self.projection(self.encoder((pixels - 0.5) / 0.5))
        return moments[:, : self.latent_channels] * self.scaling


class TorchLatentEncoder:
    """A latent encoder that is a PyTorch module, on the CPU unless `.module` is moved.

    Attributes:
        module: the EncoderModule, in evaluation mode and without gradients.
    """

    def __init__(self, kind: str, module: EncoderModule, save: Callable[[Path], None]) -> None:
        self.kind = kind
        self.module = module.eval().requires_grad_(False)
        self._save = save
        settings = {"kind": kind, "scaling": module.scaling, "latent_channels": module.latent_channels}
        self.fingerprint = _fingerprint(settings, module.state_dict())
        self._shapes: dict[int, tuple[int, int, int]] = {}

    def encode(self, images: UInt8Array) -> Float32Array:
        """uint8 [N, S, S, 3] → z0 float32 [N, C, h, w]. Raises EngineError where z0 is not finite."""
        device = next(self.module.parameters()).device
        with torch.inference_mode():
            latents: Float32Array = self.module(torch.from_numpy(np.ascontiguousarray(images)).to(device)).cpu().numpy()
        if not np.isfinite(latents).all():
            raise EngineError(
                f"the latent encoder ({self.kind}) gave NaN or infinite latents: its weights are unusable"
            )
        return latents

    def latent_shape(self, image_size: int) -> tuple[int, int, int]:
        """(C, h, w), found by encoding one black image."""
        if image_size not in self._shapes:
            try:
                latent = self.encode(np.zeros((1, image_size, image_size, 3), dtype=np.uint8))
            except RuntimeError as error:
                raise CheckpointError(
                    f"the latent encoder ({self.kind}) does not take images of {image_size}×{image_size}: {error}"
                ) from error
            self._shapes[image_size] = (latent.shape[1], latent.shape[2], latent.shape[3])
        return self._shapes[image_size]

    def save(self, directory: Path) -> None:
        """Writes config.json and safetensors into `directory`, which is made if it isn't there."""
        directory.mkdir(parents=True, exist_ok=True)
        self._save(directory)


def load_latent_encoder(
    source: str | Path, *, input_range: tuple[float, float] = (0.0, 1.0), scaling: float = 1.0
) -> LatentEncoder:
    """Loads a latent encoder.

    Args:
        source: an .onnx file; a directory with an AutoencoderKL, AutoencoderTiny or LightEncoder (config.json and
            safetensors), with a whole diffusers pipeline, or as `LatentEncoder.save` wrote it; or an id on the
            Hugging Face hub.
        input_range: what black and white are for an .onnx file, e.g. (0, 1) or (-1, 1). Others know their own.
        scaling: factor on the latent of an .onnx file. Others know their own.

    Raises:
        CheckpointError: nothing usable is there; the message says what was looked for.
        MissingExtra: diffusers is needed and not installed.
    """
    path = Path(source)
    if path.is_file():
        return _load_onnx(path, OnnxSettings(input_range=input_range, scaling=scaling))
    if not path.is_dir():
        if path.suffix == ".onnx" or path.is_absolute() or str(source).startswith(".") or str(source).count("/") != 1:
            raise CheckpointError(
                f"no latent encoder at {source}: give an .onnx file, a directory with an AutoencoderKL or "
                "AutoencoderTiny, or a hub id such as owner/name"
            )
        return _load_hub(str(source))
    if (path / ONNX_FILE).is_file() and (path / SETTINGS_FILE).is_file():
        return _load_onnx(path / ONNX_FILE, _read_settings(path / SETTINGS_FILE))
    if not (path / CONFIG_FILE).is_file() and (path / VAE_FOLDER / CONFIG_FILE).is_file():
        path = path / VAE_FOLDER
    class_name = _class_name(path)
    if class_name == LIGHT_CLASS_NAME:
        light = LightEncoder.load(path)
        module = EncoderModule(light, nn.Identity(), light.config.latent_channels, 1.0)
        return TorchLatentEncoder("light_encoder", module, light.save)
    return _load_diffusers(class_name, str(path), None)


def _load_onnx(path: Path, settings: OnnxSettings) -> OnnxLatentEncoder:
    try:
        return OnnxLatentEncoder(path.read_bytes(), settings, name=str(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def _read_settings(path: Path) -> OnnxSettings:
    try:
        return msgspec.json.decode(path.read_bytes(), type=OnnxSettings)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} does not describe an ONNX latent encoder: {error}") from error


def _class_name(directory: Path) -> str:
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory} holds no latent encoder: {CONFIG_FILE} is missing")
    try:
        config = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not a configuration: {error}") from error
    return str(config.get("_class_name"))


def _load_hub(name: str) -> TorchLatentEncoder:
    """From the hub: the model itself, or the `vae` folder of a pipeline."""
    diffusers = _import_diffusers()
    failures = []
    subfolders: tuple[str | None, ...] = (None, VAE_FOLDER)
    for subfolder in subfolders:
        try:
            config: dict[str, Any] = diffusers.AutoencoderKL.load_config(name, subfolder=subfolder)
        except (OSError, ValueError) as error:
            failures.append(_first_line(error))
            continue
        return _load_diffusers(str(config.get("_class_name")), name, subfolder)
    raise CheckpointError(
        f"no directory {name}, and it cannot be had from the Hugging Face hub ({failures[-1]}): check the name and the "
        "connection, or download the model and give its directory"
    )


def _load_diffusers(class_name: str, source: str, subfolder: str | None) -> TorchLatentEncoder:
    if class_name not in (KL_CLASS, TINY_CLASS):
        raise CheckpointError(
            f"{source} holds a {class_name}: a latent encoder is an {KL_CLASS}, an {TINY_CLASS}, a "
            f"{LIGHT_CLASS_NAME} or an .onnx file"
        )
    diffusers = _import_diffusers()
    try:
        autoencoder, loading = getattr(diffusers, class_name).from_pretrained(
            source,
            subfolder=subfolder,
            use_safetensors=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,  # the other way needs `accelerate`
            output_loading_info=True,
        )
    except Exception as error:  # diffusers raises what its many loaders raise, without a common base
        raise CheckpointError(
            f"cannot load the {class_name} {source}: {_first_line(error)}; config.json and a .safetensors file "
            "that fits it are needed (pickled .bin weights are not read)"
        ) from error
    missing = [name for name in loading["missing_keys"] if name.startswith(("encoder.", "quant_conv."))]
    if missing:  # diffusers only warns, and leaves them random
        raise CheckpointError(f"the {class_name} {source} lacks weights, among them {missing[0]}: get it again")
    channels = autoencoder.config.in_channels
    if channels != 3:
        raise CheckpointError(
            f"the {class_name} {source} takes {channels} channels: an encoder of RGB images is needed"
        )
    scaling = float(autoencoder.config.scaling_factor)
    projection = getattr(autoencoder, "quant_conv", None)
    module = EncoderModule(
        autoencoder.encoder,
        nn.Identity() if projection is None else projection,
        autoencoder.config.latent_channels,
        scaling,
    )
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"the {class_name} {source} has NaN or infinite weights in {name}")

    def save(directory: Path) -> None:
        autoencoder.save_pretrained(directory, safe_serialization=True)

    return TorchLatentEncoder("autoencoder_kl" if class_name == KL_CLASS else "autoencoder_tiny", module, save)


def _import_diffusers() -> Any:
    try:
        import diffusers
    except ImportError:
        raise MissingExtra("diffusers", "export") from None
    return diffusers


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _fingerprint(settings: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(msgspec.json.encode(dict(settings), order="sorted"))
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
