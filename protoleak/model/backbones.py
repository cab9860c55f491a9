"""The encoders that turn one noised latent into one embedding: float32 [B, C', h, w] → float32 [B, D].

The same encoder serves every timestep. Architectures, and the names of their parameters, are those of the published
checkpoints (Proto-LeakNet's research code), so that a state dict can be loaded without renaming: `conv1…3`, `bn1…3` and
`head` for the small network; `base.*` with torchvision's own names, and `head`, for the others.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from protoleak.choices import BACKBONE_KINDS, BackboneKind
from protoleak.errors import MissingExtra
from protoleak.model.second_order import HIDDEN, SecondOrderEncoder

IMAGE_CHANNELS = 3  # torchvision's stems take this many; with any other number the stem is replaced
VIT_PATCH = 16
VIT_IMAGE_SIZE = 224
HEAD_SPREAD = 0.02  # standard deviation of the linear head's initial weights over a torchvision network


class ConvEncoder(nn.Module):
    """Three 3×3 convolutions (64, 128 and 192 channels, the last two with stride 2), global average, linear head:
    float32 [N, C, h, w] → embedding [N, D]."""

    def __init__(self, in_channels: int, embedding_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(128)
        self.conv3 = nn.Conv2d(128, 192, 3, stride=2, padding=1)
        self.bn3 = nn.BatchNorm2d(192)
        self.head = nn.Linear(192, embedding_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = torch.relu(self.bn3(self.conv3(x)))
        embedding: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return embedding


class TorchvisionEncoder(nn.Module):
    """A torchvision classifier without its last layer, then a linear head: float32 [N, C, h, w] → embedding [N, D].

    Attributes:
        input_size: side in pixels that `base` insists on (ViT), or None where any size will do. Latents of another size
            are interpolated bilinearly to it.
    """

    def __init__(self, base: nn.Module, features: int, embedding_size: int, input_size: int | None = None) -> None:
        super().__init__()
        self.base = base
        self.head = nn.Linear(features, embedding_size)
        self.input_size = input_size
        nn.init.normal_(self.head.weight, std=HEAD_SPREAD)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.input_size is not None and x.shape[-2:] != (self.input_size, self.input_size):
            x = F.interpolate(x, size=(self.input_size, self.input_size), mode="bilinear", align_corners=False)
        embedding: torch.Tensor = self.head(self.base(x))
        return embedding


def build_backbone(
    kind: BackboneKind,
    in_channels: int,
    embedding_size: int,
    vit_image_size: int = VIT_IMAGE_SIZE,
    positions: int = 1,
    hidden: int = HIDDEN,
) -> nn.Module:
    """A freshly initialised encoder; every parameter is trainable.

    Args:
        kind: one of BACKBONE_KINDS.
        in_channels: C', channels of the noised latent (with the low-frequency half, twice the latent's).
        embedding_size: D.
        vit_image_size: for `vit_b_16` only: the side that it works at, a multiple of 16.
        positions, hidden: for `second_order` only: looks × timesteps, and units of the hidden layer of each.

    Raises:
        MissingExtra: torchvision is not installed, and `kind` is neither "conv" nor "second_order".
        ValueError: `kind` is unknown.
    """
    if kind == "conv":
        return ConvEncoder(in_channels, embedding_size)
    if kind == "second_order":
        return SecondOrderEncoder(in_channels, embedding_size, positions, hidden)
    if kind not in BACKBONE_KINDS:
        raise ValueError(f"no backbone {kind!r}: choose one of {', '.join(BACKBONE_KINDS)}")
    try:
        from torchvision import models
    except ImportError:
        raise MissingExtra("torchvision", "export") from None

    if kind == "efficientnet_b4":
        network = models.efficientnet_b4(weights=None)
        features = network.classifier[-1].in_features
        network.features[0][0] = _stem(network.features[0][0], in_channels)
        network.classifier = nn.Identity()
        return TorchvisionEncoder(network, features, embedding_size)
    if kind == "vit_b_16":
        network = models.vit_b_16(weights=None, image_size=vit_image_size)
        network.conv_proj = _stem(network.conv_proj, in_channels)
        network.heads = nn.Identity()
        return TorchvisionEncoder(network, network.hidden_dim, embedding_size, vit_image_size)
    constructors = {"resnet18": models.resnet18, "resnet50": models.resnet50, "resnet101": models.resnet101}
    network = constructors[kind](weights=None)
    features = network.fc.in_features
    network.conv1 = _stem(network.conv1, in_channels)
    network.fc = nn.Identity()
    return TorchvisionEncoder(network, features, embedding_size)


def _stem(original: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """The first convolution for `in_channels`; published checkpoints have no bias in a replaced stem."""
    if in_channels == IMAGE_CHANNELS:
        return original
    assert not isinstance(original.padding, str)  # torchvision gives numbers
    stem = nn.Conv2d(
        in_channels,
        original.out_channels,
        kernel_size=(original.kernel_size[0], original.kernel_size[1]),
        stride=(original.stride[0], original.stride[1]),
        padding=(original.padding[0], original.padding[1]),
        bias=False,
    )
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return stem
