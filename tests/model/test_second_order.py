from __future__ import annotations

import torch

from protoleak.latent_statistics import LAGS, SMALLEST_VARIANCE, second_order_statistics, statistic_count
from protoleak.model.second_order import HIDDEN, SecondOrderEncoder, second_order_features

CHANNELS, SIZE, POSITIONS = 4, 6, 3


def test_the_statistics_are_correlations_log_deviations_and_autocorrelations() -> None:
    z = torch.randn(2, CHANNELS, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = second_order_features(z)
    assert found.shape == (2, statistic_count(CHANNELS))
    pairs = CHANNELS * (CHANNELS - 1) // 2
    for image in range(2):
        correlation = torch.corrcoef(z[image].flatten(1))
        row, column = torch.triu_indices(CHANNELS, CHANNELS, offset=1)
        torch.testing.assert_close(found[image, :pairs], correlation[row, column], rtol=1e-5, atol=1e-5)
        deviation = z[image].flatten(1).var(dim=1, correction=0).add(SMALLEST_VARIANCE).sqrt()
        torch.testing.assert_close(found[image, pairs : pairs + CHANNELS], deviation.log())
        centred = z[image] - z[image].mean(dim=(1, 2), keepdim=True)
        for number, (down, right) in enumerate(LAGS):
            start = pairs + CHANNELS * (1 + number)
            product = centred[:, down:, right:] * centred[:, : 9 - down, : 7 - right]
            expected = product.mean(dim=(1, 2)) / deviation.square()
            torch.testing.assert_close(found[image, start : start + CHANNELS], expected)


def test_each_position_has_a_head_of_its_own_whatever_the_order() -> None:
    encoder = _encoder()
    z = torch.randn(2 * POSITIONS, CHANNELS, 8, 8)
    whole = encoder(z)
    position = torch.arange(2 * POSITIONS) % POSITIONS
    order = torch.randperm(2 * POSITIONS, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(encoder(z[order], position[order]), whole[order])
    same = z[:1].expand(POSITIONS, -1, -1, -1)
    assert not torch.allclose(encoder(same)[0], encoder(same)[1])


def test_a_folded_encoder_gives_of_latents_what_it_gave_of_whitened_statistics() -> None:
    encoder = _encoder()
    z = torch.randn(5 * POSITIONS, CHANNELS, 8, 8)
    statistics = second_order_features(z).reshape(5, POSITIONS, -1)
    features = statistics.shape[2]
    mean, inverse = torch.randn(POSITIONS, features), torch.rand(POSITIONS, features) + 0.1
    half = torch.randn(POSITIONS, features, features) / features**0.5
    whitening = half + half.transpose(1, 2)
    whitened = torch.einsum("npf,pfg->npg", (statistics - mean) * inverse, whitening)
    wanted = torch.ones(5, POSITIONS, dtype=torch.bool)
    wanted[1, 2] = wanted[4, 0] = False
    expected = encoder.embed_whitened(whitened, wanted)
    encoder.fold(mean, inverse, whitening)
    found = encoder(z).reshape(5, POSITIONS, -1)[wanted]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_hidden_units_that_write_nothing_are_left_out_with_the_norms_and_the_embedding_stays() -> None:
    encoder = _encoder()
    z = torch.randn(2 * POSITIONS, CHANNELS, 8, 8)
    with torch.no_grad():
        encoder.get_parameter("heads.0.out.weight")[:, 4:] = 0
        encoder.get_buffer("heads.0.norm.running_mean").normal_()
    expected = encoder(z)
    encoder.fold_norms()
    widths = [len(encoder.get_parameter(f"heads.{p}.hidden.bias")) for p in range(POSITIONS)]
    assert widths == [4] + [HIDDEN] * (POSITIONS - 1)
    torch.testing.assert_close(encoder(z), expected)


def _encoder() -> SecondOrderEncoder:
    torch.manual_seed(0)
    return SecondOrderEncoder(CHANNELS, SIZE, POSITIONS).eval()


def test_numpy_gives_the_same_statistics_of_each_look() -> None:
    z = torch.randn(6, CHANNELS, 9, 7, generator=torch.Generator().manual_seed(1))
    expected = second_order_features(z).reshape(2, -1)
    torch.testing.assert_close(torch.from_numpy(second_order_statistics(z.numpy(), 3)), expected)
