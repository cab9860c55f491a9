"""Which layers int8 harms most: each is quantised alone, and the noise that it puts into the embedding is measured."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from protoleak.arrays import Float32Array
from protoleak.bundle.report import LayerNoise, Stage
from protoleak.export.precisions.int8 import Quantiser


def rank_layers(
    quantisers: dict[Stage, Quantiser],
    embed: Callable[[Stage, bytes], Float32Array],
    progress: Callable[[int], None] = lambda _: None,
) -> list[LayerNoise]:
    """All layers of both graphs, the most harmed first.

    Args:
        embed: embeddings [n, D] of the same images with one graph replaced by the given one, and the other in fp32.
        progress: called with the number of layers done.
    """
    stage, quantiser = next(iter(quantisers.items()))
    reference = embed(stage, quantiser.quantised([])).astype(np.float64)
    signal = float(np.square(reference - reference.mean(axis=0)).mean())
    found = []
    for stage, quantiser in quantisers.items():
        for layer in quantiser.layers:
            noise = float(np.square(embed(stage, quantiser.quantised([layer])).astype(np.float64) - reference).mean())
            ratio = 10 * math.log10(max(signal, 1e-300) / max(noise, 1e-300))
            found.append(LayerNoise(stage, layer, ratio))
            progress(len(found))
    return sorted(found, key=lambda item: item.signal_to_noise_db)
