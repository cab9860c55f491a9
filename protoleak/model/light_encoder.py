"""A small convolutional latent encoder, distilled from the encoder of a diffusion autoencoder.

The architecture follows `AutoencoderTiny` (residual blocks of plain 3×3 convolutions with ReLU, no normalisation, so
that nothing depends on the batch or is delicate in half precision), with two changes for speed: pixels enter as 2×2
space-to-depth patches, so that no convolution runs at full resolution and none of the finest detail is lost, and the
widths grow as the resolution falls.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from torch import nn

from protoleak.errors import CheckpointError
from protoleak.strict_json import json_bytes

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "weights.safetensors"
CLASS_NAME = "LightEncoder"
PATCH = 2  # pixels per direction that enter as channels


class LightEncoderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shape of a LightEncoder; stored as config.json beside the weights.

    Attributes:
        latent_channels: C of the latent, the teacher's.
        widths: channels at 1/2, 1/4 and 1/8 of the image's size.
        blocks: residual blocks at each of these sizes.
        provenance: how the encoder came to be.
    """

    latent_channels: int
    widths: tuple[int, int, int] = (32, 64, 96)
    blocks: tuple[int, int, int] = (1, 2, 3)
    class_name: str = msgspec.field(name="_class_name", default=CLASS_NAME)
    provenance: dict[str, object] = {}

    def flops(self, image_size: int) -> int:
        """Floating-point operations of the convolutions of one image, a multiplication and an addition being two."""
        operations, channels, side = 0, 3 * PATCH**2, image_size // PATCH
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            side //= 1 if stage == 0 else 2
            operations += side**2 * 9 * width * (channels + 2 * blocks * width)
            channels = width
        return 2 * (operations + side**2 * 9 * channels * self.latent_channels)


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))) with 3×3 convolutions of one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class LightEncoder(nn.Module):
    """float32 [N, 3, S, S] in [-1, 1] → latent float32 [N, C, S/8, S/8]. S is a multiple of 8.

    The network predicts latents in units of the teacher's per-channel spread, and the last step puts the teacher's mean
    and spread back, so that a student's latent can stand where the teacher's did.
    """

    latent_mean: torch.Tensor
    latent_spread: torch.Tensor

    def __init__(self, config: LightEncoderConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [nn.PixelUnshuffle(PATCH)]
        channels = 3 * PATCH**2
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            layers.append(nn.Conv2d(channels, width, 3, padding=1, stride=1 if stage == 0 else 2))
            layers.append(nn.ReLU())
            layers += [ResidualBlock(width) for _ in range(blocks)]
            channels = width
        layers.append(nn.Conv2d(channels, config.latent_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_spread", torch.ones(config.latent_channels))

    def standardised(self, x: torch.Tensor) -> torch.Tensor:
        """The latent in units of the teacher's spread around its mean: what distillation compares."""
        result: torch.Tensor = self.layers(x)
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.standardised(x) * self.latent_spread[:, None, None] + self.latent_mean[:, None, None]

    def save(self, directory: Path) -> None:
        """Writes config.json and weights.safetensors into `directory`, which is made if it isn't there."""
        from safetensors.torch import save_file

        directory.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, directory / WEIGHTS_FILE)
        (directory / CONFIG_FILE).write_bytes(json_bytes(self.config))

    @classmethod
    def load(cls, directory: Path) -> LightEncoder:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: a file is missing or not what it should be.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            config = msgspec.json.decode((directory / CONFIG_FILE).read_bytes(), type=LightEncoderConfig)
            encoder = cls(config)
            encoder.load_state_dict(load_file(directory / WEIGHTS_FILE))
        except (OSError, ValueError, TypeError, SafetensorError, RuntimeError) as error:
            raise CheckpointError(f"{directory} holds no readable light encoder: {error}; distil it again") from error
        return encoder.eval()
