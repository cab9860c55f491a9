"""How fast each variant is in each engine and compute that is here: the runtime takes the fastest by default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.bundle.manifest import CalibratedCompute, Manifest
from protoleak.bundle.report import Stage
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.availability import CPU_ENGINES, availability
from protoleak.runtime.executors import Executor, Graphs, open_executor

WARM_UP, RUNS = 2, 15


def measure_speeds(
    variants: Mapping[str, Mapping[Stage, bytes]],
    computes: Iterable[CalibratedCompute],
    manifest: Manifest,
    noise_bank: Float32Array,
    images: Sequence[UInt8Array],
) -> tuple[dict[str, dict[str, float]], list[CalibratedCompute]]:
    """Milliseconds that both graphs take for one image: what is compared takes turns, and the shortest time counts,
    since what a busy machine adds belongs to none of it.

    Args:
        variants: name → both graphs, serialised.
        computes: to be timed beside exact computing.
        images: uint8 [L, S, S, 3] each, one or more.

    Returns:
        engine → variant → milliseconds of exact computing, for the engines of `CPU_ENGINES` that can run here; and the
        computes with theirs.
    """
    exact: dict[str, dict[str, float]] = {}
    timed: list[CalibratedCompute] = []
    for engine in CPU_ENGINES:
        if not availability(engine).runs:
            continue
        of_engine = [one for one in computes if one.engine == engine]
        todo = {CalibratedCompute(name, engine, "exact", 0.0): EngineOptions(compute="exact") for name in variants}
        todo |= {one: EngineOptions(compute=one.compute) for one in of_engine}
        executors = {
            one: open_executor(
                engine,
                Graphs.of(variants[one.variant]["latent_encoder"], variants[one.variant]["attributor"]),
                manifest,
                noise_bank,
                options=options,
            )
            for one, options in todo.items()
        }
        spent = _measured(executors, images)
        exact[engine] = {one.variant: value for one, value in spent.items() if one.compute == "exact"}
        timed += [CalibratedCompute(one.variant, engine, one.compute, spent[one]) for one in of_engine]
    return exact, timed


def _measured(
    executors: Mapping[CalibratedCompute, Executor], images: Sequence[UInt8Array]
) -> dict[CalibratedCompute, float]:
    spent: dict[CalibratedCompute, list[float]] = {one: [] for one in executors}
    for run in range(WARM_UP + RUNS):
        image = images[run % len(images)]
        for one, executor in executors.items():
            stages = executor.run(image).milliseconds
            if run >= WARM_UP:
                spent[one].append(stages["latent_encoder"] + stages["attributor"])
    return {one: round(min(times), 3) for one, times in spent.items()}
