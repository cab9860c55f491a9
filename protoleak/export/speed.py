"""How fast each variant is in each engine for the CPU that is here: the runtime takes the fastest by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.report import Stage
from protoleak.runtime.engines.availability import CPU_ENGINES, availability
from protoleak.runtime.executors import Executor, Graphs, open_executor

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
    measured = {}
    for engine in CPU_ENGINES:
        if availability(engine).runs:
            executors = {
                name: open_executor(
                    engine, Graphs.of(graphs["latent_encoder"], graphs["attributor"]), manifest, noise_bank
                )
                for name, graphs in variants.items()
            }
            measured[engine] = _measured(executors, images)
    return measured


def _measured(variants: Mapping[str, Executor], images: Sequence[UInt8Array]) -> dict[str, float]:
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for run in range(WARM_UP + RUNS):
        image = images[run % len(images)][None]
        for name, executor in variants.items():
            stages = executor.run(image).milliseconds
            if run >= WARM_UP:
                spent[name].append(stages["latent_encoder"] + stages["attributor"])
    return {name: round(median(times), 3) for name, times in spent.items()}
