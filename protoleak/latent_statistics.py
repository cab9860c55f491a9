"""Second-order statistics of latents, in NumPy: what a generator that the network never learnt is told by.

The mathematics of `model.second_order`, which trains on them. A network that was trained to name some classes keeps of
an image what tells those apart, and little else; the statistics that it looks at hold what tells a newcomer as well.
"""

from __future__ import annotations

import numpy as np

from protoleak.arrays import Float32Array

LAGS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))  # rows down and columns right, in latent pixels
SMALLEST_VARIANCE = 1e-6


def statistic_count(channels: int) -> int:
    """F of `second_order_statistics`."""
    return channels * (channels - 1) // 2 + channels * (1 + len(LAGS))


def second_order_statistics(z0: Float32Array, looks: int) -> Float32Array:
    """Of latents float32 [N·L, C, h, w], the looks at each face behind one another: float32 [N, L·F], for each look the
    correlations of each pair of channels, the log standard deviation of each channel, and its autocorrelation at each
    of LAGS."""
    count, channels, height, width = z0.shape
    centred = (z0 - z0.mean(axis=(2, 3), keepdims=True)).astype(np.float32, copy=False)
    flat = centred.reshape(count, channels, height * width)
    covariance = flat @ flat.transpose(0, 2, 1) / (height * width)
    variance = np.square(centred).mean(axis=(2, 3)) + SMALLEST_VARIANCE
    inverse = 1 / np.sqrt(variance)
    row, column = np.triu_indices(channels, 1)
    parts = [(covariance * inverse[:, :, None] * inverse[:, None, :])[:, row, column], 0.5 * np.log(variance)]
    for down, right in LAGS:
        first = centred[:, :, down:, right:]
        second = centred[:, :, : height - down, : width - right]
        parts.append((first * second).mean(axis=(2, 3)) / variance)
    together = np.concatenate(parts, axis=1).reshape(count // looks, -1)
    return np.asarray(together, np.float32)
