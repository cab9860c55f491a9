"""Decoders differ in how they up-sample and in nothing else."""

from __future__ import annotations

from typing import get_args

import pytest

torch = pytest.importorskip("torch", reason="the zoo's networks are PyTorch's")

from torch.nn import functional as F  # noqa: E402

from zoo.decoders import Decoder, Upsample, Upsampling, ZeroInsertion  # noqa: E402


def test_zero_insertion_and_a_convolution_are_a_transposed_convolution() -> None:
    x, weight = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    inserted = F.conv2d(ZeroInsertion()(x), weight, padding=1)
    transposed = F.conv_transpose2d(x, weight.transpose(0, 1).flip(2, 3), stride=2, padding=1, output_padding=1)
    torch.testing.assert_close(inserted, transposed, rtol=1e-4, atol=1e-4)  # the order of float32 sums differs


def test_all_but_the_up_sampling_layers_have_the_same_shapes() -> None:
    def shapes(kind: Upsampling) -> list[tuple[int, ...]]:
        layers = [layer for layer in Decoder(kind, 4).layers if not isinstance(layer, Upsample)]
        return [tuple(parameter.shape) for layer in layers for parameter in layer.parameters()]

    kinds: tuple[Upsampling, ...] = get_args(Upsampling)
    assert all(shapes(kind) == shapes("nearest") for kind in kinds)


@pytest.mark.parametrize("kind", get_args(Upsampling))
def test_a_decoder_enlarges_eightfold(kind: Upsampling) -> None:
    with torch.inference_mode():
        assert Decoder(kind, 4)(torch.zeros(1, 4, 2, 3)).shape == (1, 3, 16, 24)
