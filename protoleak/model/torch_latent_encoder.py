"""A latent encoder that is a PyTorch module, in the form that is exported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from protoleak.arrays import Float32Array
from protoleak.errors import CheckpointError, EngineError


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
        # Contiguous, since PyTorch's channels-last kernels round thirty times as much in a VAE (5e-6 against 1.5e-7).
        # Cast before the transpose, since TensorRT transposes no bytes.
        pixels = image.to(torch.float32).permute(0, 3, 1, 2).contiguous() / 255.0
        moments: torch.Tensor = self.projection(self.encoder((pixels - 0.5) / 0.5))
        return moments[:, : self.latent_channels] * self.scaling


class TorchLatentEncoder:
    """A latent encoder that is a PyTorch module, on the CPU unless `.module` is moved.

    Attributes:
        module: the EncoderModule, in evaluation mode and without gradients.
    """

    def __init__(
        self,
        kind: str,
        module: EncoderModule,
        save: Callable[[Path], None],
        provenance: Mapping[str, object] | None = None,
    ) -> None:
        self.kind = kind
        self.module = module.eval().requires_grad_(False)
        self.provenance: Mapping[str, object] = provenance or {}
        self._save = save
        settings = {"kind": kind, "scaling": module.scaling, "latent_channels": module.latent_channels}
        self.fingerprint = _fingerprint(settings, module.state_dict())
        self._shapes: dict[int, tuple[int, int, int]] = {}

    def encode(self, images: npt.NDArray[np.uint8]) -> Float32Array:
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


def _fingerprint(settings: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(msgspec.json.encode(dict(settings), order="sorted"))
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
