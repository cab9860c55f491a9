"""How fast each variant is in each engine for the CPU that is here: the runtime takes the fastest by default."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.report import Stage
from protoleak.export.graphs import ATTRIBUTOR_OUTPUTS
from protoleak.runtime.engines import Engine, Graph, open_engine
from protoleak.runtime.engines.availability import CPU_ENGINES, availability
from protoleak.runtime.noising import Noising

WARM_UP, RUNS = 2, 9


def measure_speeds(
    variants: Mapping[str, Mapping[Stage, bytes]],
    manifest: Manifest,
    noise_bank: Float32Array,
    images: Sequence[UInt8Array],
) -> dict[str, dict[str, float]]:
    """Median milliseconds that both graphs take for one image; the variants take turns, so that a busy moment of the
    machine falls on all of them.

    Args:
        variants: name → both graphs, serialised.
        images: uint8 [S, S, 3] each, one or more.

    Returns:
        engine → variant → milliseconds, for the engines of `CPU_ENGINES` that can run here.
    """
    noising = Noising.of(manifest, noise_bank)
    return {engine: _measured(engine, variants, noising, images) for engine in CPU_ENGINES if availability(engine).runs}


def _measured(
    engine: str, variants: Mapping[str, Mapping[Stage, bytes]], noising: Noising, images: Sequence[UInt8Array]
) -> dict[str, float]:
    opened: dict[str, tuple[Engine, Engine]] = {
        name: (
            open_engine(engine, Graph("latent encoder", graphs["latent_encoder"], ("z0",))),
            open_engine(engine, Graph("attributor", graphs["attributor"], ATTRIBUTOR_OUTPUTS)),
        )
        for name, graphs in variants.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for run in range(WARM_UP + RUNS):
        image = images[run % len(images)][None]
        for name, (latent_encoder, attributor) in opened.items():
            started = time.perf_counter()
            z0 = latent_encoder.run({"image": image})["z0"]
            encoded = time.perf_counter()
            z_t = noising(z0.astype(np.float32, copy=False))
            noised = time.perf_counter()
            attributor.run({"z_t": z_t})
            if run >= WARM_UP:
                spent[name].append(1000 * (time.perf_counter() - noised + encoded - started))
    return {name: round(median(times), 3) for name, times in spent.items()}
