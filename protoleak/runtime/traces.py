"""Second-order statistics of latents: what a picture's latent encoding says of its maker, whoever that is.

An attributor's embedding is trained to bring pictures of one known class together, and with that brings together what
it never learnt to tell apart. The statistics that it is computed from have not gone through that. Divided by how far
they spread within classes (`bundle.traces`), they tell generators apart that nothing was trained on.
"""

from __future__ import annotations

import numpy as np

from protoleak.arrays import Float32Array
from protoleak.bundle.traces import LAGS

SMALLEST_VARIANCE = 1e-6


def statistics_of(z0: Float32Array) -> Float32Array:
    """Of latents float32 [n, C, h, w]: float32 [n, F], the correlations of each pair of channels, the log standard
    deviation of each channel, and its autocorrelation at each of LAGS. With noise they are what the backbone
    `second_order` sees (`model.second_order`)."""
    channels, height, width = z0.shape[1:]
    centred = z0 - z0.mean(axis=(2, 3), keepdims=True)
    flat = centred.reshape(len(z0), channels, -1)
    covariance = flat @ flat.transpose(0, 2, 1) / np.float32(height * width)
    variance = np.square(centred).mean(axis=(2, 3)) + np.float32(SMALLEST_VARIANCE)
    inverse = 1 / np.sqrt(variance)
    row, column = np.triu_indices(channels, k=1)
    parts = [(covariance * inverse[:, :, None] * inverse[:, None, :])[:, row, column], 0.5 * np.log(variance)]
    for down, right in LAGS:
        first, second = centred[:, :, down:, right:], centred[:, :, : height - down, : width - right]
        parts.append((first * second).mean(axis=(2, 3)) / variance)
    return np.concatenate(parts, axis=1).astype(np.float32)
