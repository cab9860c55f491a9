"""Latent encoders: uint8 images → z0, the latent that is noised. Frozen; never trained here except by distillation.

A latent encoder is one of
- diffusers' `AutoencoderKL` (z0 = posterior mean × scaling factor, never a sample) or `AutoencoderTiny`,
- the project's own `LightEncoder`,
- any ONNX file that maps a float NCHW image to a latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
from torch import nn

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.errors import CheckpointError
from protoleak.model.diffusers_latent_encoder import CONFIG_FILE, VAE_FOLDER, load_diffusers, load_hub
from protoleak.model.light_encoder import CLASS_NAME as LIGHT_CLASS_NAME
from protoleak.model.light_encoder import LightEncoder
from protoleak.model.onnx_latent_encoder import ONNX_FILE, SETTINGS_FILE, OnnxLatentEncoder, OnnxSettings
from protoleak.model.torch_latent_encoder import EncoderModule, TorchLatentEncoder
from protoleak.strict_json import decode_json

__all__ = ["LatentEncoder", "OnnxLatentEncoder", "OnnxSettings", "TorchLatentEncoder", "load_latent_encoder"]


class LatentEncoder(Protocol):
    """What training and export need of a latent encoder.

    Attributes:
        kind: "autoencoder_kl", "autoencoder_tiny", "light_encoder" or "onnx".
        fingerprint: SHA-256 (hex) of everything that z0 depends on: weights and settings.
        provenance: how it came to be, where that is known; goes into the bundle's manifest.
    """

    @property
    def kind(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def provenance(self) -> Mapping[str, object]: ...

    def encode(self, images: UInt8Array) -> Float32Array:
        """uint8 [N, S, S, 3] → z0 float32 [N, C, h, w]. Raises EngineError where z0 is not finite."""

    def latent_shape(self, image_size: int) -> tuple[int, int, int]:
        """(C, h, w) of the latent of an image of side `image_size`.

        Raises:
            CheckpointError: the encoder does not take images of that size.
        """

    def save(self, directory: Path) -> None:
        """Writes a copy that `load_latent_encoder(directory)` reads, with nothing left elsewhere."""


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
        return load_hub(str(source))
    if (path / ONNX_FILE).is_file() and (path / SETTINGS_FILE).is_file():
        return _load_onnx(path / ONNX_FILE, _read_settings(path / SETTINGS_FILE))
    if not (path / CONFIG_FILE).is_file() and (path / VAE_FOLDER / CONFIG_FILE).is_file():
        path = path / VAE_FOLDER
    class_name = _class_name(path)
    if class_name == LIGHT_CLASS_NAME:
        light = LightEncoder.load(path)
        module = EncoderModule(light, nn.Identity(), light.config.latent_channels, 1.0)
        return TorchLatentEncoder("light_encoder", module, light.save, light.config.provenance)
    return load_diffusers(class_name, str(path))


def _load_onnx(path: Path, settings: OnnxSettings) -> OnnxLatentEncoder:
    try:
        return OnnxLatentEncoder(path.read_bytes(), settings, name=str(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def _read_settings(path: Path) -> OnnxSettings:
    try:
        return decode_json(path.read_bytes(), OnnxSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{path} does not describe an ONNX latent encoder: {error}") from error


def _class_name(directory: Path) -> str:
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory} holds no latent encoder: {CONFIG_FILE} is missing")
    try:
        config = decode_json(path.read_bytes(), dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{path} is not a configuration: {error}") from error
    return str(config.get("_class_name"))
