"""The attribution network's first operation, taken of z0 once instead of T times of z_t.

z_t = a_t·z0 + e_t with constants a_t and e_t of the bundle (the low-frequency half likewise). The first operation of
most backbones is a convolution, which is linear: conv(a·z0 + e) = a·conv(z0) + conv(e), zero padding included, and
conv(e) is a constant. That of `second_order` is a covariance: C(a·z0 + e) = a²·C(z0, z0) + a·(C(z0, e) + C(e, z0)) +
C(e, e), where the first term is the same for all timesteps and the last is a constant. The graph then takes z0, and
nothing noises between the two graphs. docs/decisions/0030-onnxruntime-and-the-stem.md says where this pays.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from protoleak.choices import BackboneKind, Stem
from protoleak.errors import ProtoleakError
from protoleak.latent_statistics import LAGS
from protoleak.model.attributor import Attributor
from protoleak.model.second_order import autocorrelated, statistics_of_covariance
from protoleak.runtime.noising import Noising


class FirstConvolution(NamedTuple):
    """Where a backbone's encoder has its first convolution, and the normalisation behind it."""

    convolution: str
    normalisation: str


_RESNET = FirstConvolution("base.conv1", "base.bn1")
# Not `vit_b_16`: its first convolution is 3 % of its operations, and torchvision checks the size in front of it.
FIRST_CONVOLUTIONS: dict[BackboneKind, FirstConvolution] = {
    "conv": FirstConvolution("conv1", "bn1"),
    "resnet18": _RESNET,
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "efficientnet_b4": FirstConvolution("base.features.0.0", "base.features.0.1"),
}


# Measured, see docs/decisions/0030-onnxruntime-and-the-stem.md. With `conv` the sums of T planes, which engines no
# longer fuse with the convolution, cost more than the convolutions that they replace; of the others the stem is next to
# nothing.
FASTER_ABOVE: frozenset[BackboneKind] = frozenset({"second_order", "resnet18"})


def stem_is_above(kind: BackboneKind, stem: Stem) -> bool:
    """Whether a graph of this backbone takes its first operation above the noise, as `ExportSettings.stem` says.

    Raises:
        ProtoleakError: it shall, and `split_stem` knows no first operation of this backbone.
    """
    if stem == "above_noise" and kind != "second_order" and kind not in FIRST_CONVOLUTIONS:
        raise ProtoleakError(
            f"stem is 'above_noise', and that of {kind} cannot be taken above the noise: leave stem at 'auto'"
        )
    return stem == "above_noise" or (stem == "auto" and kind in FASTER_ABOVE)


def split_stem(attributor: Attributor, noising: Noising) -> tuple[nn.Module, Attributor]:
    """The first operation above the noise, z0 float32 [N, L, C, h, w] → float32 [N, L·T, …], and the network without
    it, which takes that in the place of z_t.

    Args:
        attributor: in evaluation mode; it stays as it is.
        noising: of the bundle.

    Raises:
        ValueError: its backbone's first operation is not known.
    """
    kind, rest = attributor.config.backbone, copy.deepcopy(attributor)
    positions = attributor.config.timesteps  # looks × timesteps
    encoder = rest.backbone.encoder
    if kind == "second_order":
        encoder.statistics = nn.Identity()
        return SecondOrderStem(noising, positions).eval(), rest
    if kind not in FIRST_CONVOLUTIONS:
        raise ValueError(f"the first operation of {kind} cannot be taken above the noise")
    place = FIRST_CONVOLUTIONS[kind]
    convolution, normalisation = (encoder.get_submodule(name) for name in place)
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(normalisation, nn.BatchNorm2d)
    fused = fuse_conv_bn_eval(convolution, normalisation)
    for name in place:
        encoder.set_submodule(name, nn.Identity())
    return ConvolutionStem(fused, noising, positions).eval(), rest


class _Stem(nn.Module):
    """What both stems begin with: the planes of z0, with their low-frequency half."""

    factor: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor

    def __init__(self, noising: Noising, positions: int) -> None:
        super().__init__()
        self.positions = positions
        self.projected = noising.projections is not None
        self.register_buffer("factor", torch.from_numpy(noising.latent_factor))
        if noising.projections is not None:
            left, right = noising.projections
            self.register_buffer("left", torch.from_numpy(left))
            self.register_buffer("right", torch.from_numpy(right.T.copy()))

    def planes(self, z0: torch.Tensor) -> torch.Tensor:
        """float32 [N, L, C, h, w] → [N·L, C', h, w]."""
        z = z0.flatten(0, 1)
        return torch.cat([z, self.left @ z @ self.right], dim=1) if self.projected else z


class ConvolutionStem(_Stem):
    """a_t · conv(z0) + conv(e_t): float32 [N, L, C, h, w] → [N, L·T, F, h', w'].

    Args:
        convolution: with what normalises behind it folded in.
    """

    constant: torch.Tensor

    def __init__(self, convolution: nn.Conv2d, noising: Noising, positions: int) -> None:
        super().__init__(noising, positions)
        with torch.no_grad():  # in float64, since it is computed once
            noise = torch.from_numpy(noising.noise_term).double()
            self.register_buffer("constant", copy.deepcopy(convolution).double()(noise).float())
        self.convolution = convolution
        self.convolution.bias = None

    def forward(self, z0: torch.Tensor) -> torch.Tensor:
        once: torch.Tensor = self.convolution(self.planes(z0))
        noised = once[:, None] * self.factor[:, None, None, None] + self.constant
        return noised.reshape(-1, self.positions, *noised.shape[2:])


class SecondOrderStem(_Stem):
    """The second-order statistics of a_t·z0 + e_t: float32 [N, L, C, h, w] → [N, L·T, F].

    Everything is centred first, z0 and the noise each by its own means, since a sum is centred where its parts are.
    """

    noise: torch.Tensor
    noise_covariance: torch.Tensor
    noise_lags: torch.Tensor

    def __init__(self, noising: Noising, positions: int) -> None:
        super().__init__(noising, positions)
        noise = torch.from_numpy(noising.noise_term).double()
        noise = noise - noise.mean(dim=(2, 3), keepdim=True)
        self.steps, self.channels, self.height, self.width = noise.shape
        self.size = self.height * self.width
        flat = noise.flatten(2)
        self.register_buffer("noise", (noise * self.factor.double()[:, None, None, None]).float())
        self.register_buffer("noise_covariance", (flat @ flat.transpose(1, 2) / self.size).float())
        self.register_buffer("noise_lags", autocorrelated(noise).float())

    def forward(self, z0: torch.Tensor) -> torch.Tensor:
        planes = self.planes(z0)
        centred = planes - planes.mean(dim=(2, 3), keepdim=True)
        flat, square = centred.flatten(2), self.factor.square()
        own = flat @ flat.transpose(1, 2) / self.size
        # One matrix product for the noise of all timesteps.
        mixed = (flat @ (self.noise.flatten(0, 1).flatten(1).transpose(0, 1) / self.size)).reshape(
            -1, self.channels, self.steps, self.channels
        )
        mixed = mixed.permute(0, 2, 1, 3)
        covariance = own[:, None] * square[:, None, None] + (mixed + mixed.transpose(2, 3)) + self.noise_covariance
        # Channel by channel, so that its constants are read once for all looks: [C', N·L, T·lags].
        mixed_lags = (flat.transpose(0, 1) @ self.noise_around()).reshape(self.channels, -1, self.steps, len(LAGS))
        lags = autocorrelated(centred)[:, None] * square[:, None, None] + mixed_lags.permute(1, 2, 0, 3)
        statistics = statistics_of_covariance(covariance.flatten(0, 1), (lags + self.noise_lags).flatten(0, 1))
        return statistics.reshape(-1, self.positions, statistics.shape[1])

    def noise_around(self) -> torch.Tensor:
        """What each value of z0 is multiplied with at each lag, the noise on either side of it: float32 [C', h·w,
        T·lags], computed in the graph from the noise, which every engine does once when it opens it."""
        parts = []
        for down, right in LAGS:
            shifted = functional.pad(self.noise, (right, right, down, down))
            both = shifted[..., : self.height, : self.width] + shifted[..., 2 * down :, 2 * right :]
            parts.append(both / ((self.height - down) * (self.width - right)))
        around = torch.stack(parts, dim=1)  # [T, lags, C', h, w]
        return around.permute(2, 3, 4, 0, 1).reshape(self.channels, self.size, -1)
