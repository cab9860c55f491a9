"""What judges: which variant of a bundle, in which arithmetic. What `auto` takes of them, and why.

Every variant in a bundle has passed the gate in exact computing, and so has every compute that the manifest lists; each
has conformal lists of its own. What is left to choose by is speed, on this processor: its instructions decide what may
be taken at all, the exporter's times decide where its processor had the same instructions and they are clear, and else
a short timing decides, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.variants import choose_variant
from protoleak.choices import Arithmetic
from protoleak.environment.instructions import instructions
from protoleak.environment.machine import processor
from protoleak.environment.processors import processors, threads_of_quota
from protoleak.errors import EngineError, EngineUnavailable
from protoleak.runtime.engines import EngineOptions, check_options
from protoleak.runtime.engines.availability import CPU_ENGINES, compute_problem, own_version
from protoleak.runtime.executors import Executor, Graphs, open_executor
from protoleak.runtime.timings import TimedOn, keep_timings, read_timings, time_executors

CLEAR = 0.8  # a time that is below this share of every other one decides without another timing
WORTH = 0.9  # another compute than exact is taken where its time is below this share of the fastest exact one
EXACT: Arithmetic = "exact"
REFERENCE_ENGINE = "onnxruntime"  # which a variant's own conformal lists are of


@dataclass(frozen=True)
class Candidate:
    """A variant and the arithmetic that it is computed in."""

    variant: str
    compute: Arithmetic

    @property
    def name(self) -> str:
        return f"{self.variant} {self.compute}"


@dataclass(frozen=True)
class Configuration:
    """What is taken.

    Attributes:
        reason: why, as a phrase.
        milliseconds: "<variant> <compute>" → time for one face that it was chosen by; empty where nothing was compared.
        timed_here: whether those times are of this machine; else they are the exporter's.
        left_out: "<variant> <compute>" → why what the bundle is calibrated for is not taken here.
        calibrated: whether the bundle has conformal lists of exactly this; else those of exact computing judge.
    """

    variant: str
    compute: Arithmetic
    reason: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    timed_here: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    calibrated: bool = True


def configure(
    bundle: Bundle,
    engine: str,
    variant: str | None = None,
    options: EngineOptions | None = None,
    threads: int | None = None,
) -> Configuration:
    """The variant and compute for what a user asked for.

    Args:
        engine: that will run the graphs, one of `engines.ENGINES`.
        variant: one of the bundle's, or None or "auto".
        options: `options.compute` is what was asked for.
        threads: as for `open_engine`.

    Raises:
        BundleError: the bundle has no such variant.
        EngineUnavailable: the engine or the processor cannot compute so.
    """
    manifest, options = bundle.manifest, options or EngineOptions()
    check_options(engine, options, threads)
    named = None if variant in (None, "auto") else choose_variant(manifest, variant)[0]
    exact = [Candidate(name, EXACT) for name in manifest.variants if _may_be_exact(bundle, engine, name, named)]
    calibrated = [
        Candidate(one.variant, one.compute)
        for one in manifest.computes
        if one.engine == engine and one.compute != EXACT and named in (None, one.variant)
    ]
    if options.compute == EXACT or (options.compute == "auto" and not calibrated):
        return _fastest(bundle, engine, exact, options, threads, variant)
    if options.compute != "auto":
        if problem := compute_problem(engine, options.compute):
            raise EngineUnavailable(f"{problem}: leave --compute {options.compute} out")
        wanted = [one for one in calibrated if one.compute == options.compute]
        if wanted:
            return _fastest(bundle, engine, wanted, options, threads, variant)
        name, why = choose_variant(manifest, variant, engine)
        return Configuration(name, options.compute, why, calibrated=False)
    problems = {one.name: compute_problem(engine, one.compute) for one in calibrated}
    left_out = {name: problem for name, problem in problems.items() if problem is not None}
    usable = [one for one in calibrated if one.name not in left_out]
    found = _fastest(bundle, engine, [*exact, *usable], options, threads, variant)
    return replace(found, left_out=left_out | dict(found.left_out))


def _may_be_exact(bundle: Bundle, engine: str, variant: str, named: str | None) -> bool:
    """Whether a variant is taken in its own types: engines round int8 differently, so that `auto` takes it only where
    it was calibrated in this very engine, unless the bundle is of before that was tried."""
    manifest = bundle.manifest
    if named is not None:
        return variant == named
    untried = manifest.measured_on is None or engine not in CPU_ENGINES or engine == REFERENCE_ENGINE
    return variant != "int8" or untried or manifest.calibrated(variant, engine, EXACT) is not None


def _fastest(
    bundle: Bundle,
    engine: str,
    candidates: Sequence[Candidate],
    options: EngineOptions,
    threads: int | None,
    variant: str | None,
) -> Configuration:
    """The fastest of those that may be taken."""
    manifest = bundle.manifest
    if len(candidates) == 1:
        (one,) = candidates
        _, why = choose_variant(manifest, variant if one.variant in manifest.variants else None, engine)
        return Configuration(one.variant, one.compute, why)
    table = _exporter_times(bundle, engine, candidates)
    only_exact = all(one.compute == EXACT for one in candidates)
    if manifest.measured_on is None or (only_exact and engine not in CPU_ENGINES):
        name, why = choose_variant(manifest, variant, engine)
        return Configuration(name, EXACT, why, table)
    same = frozenset(manifest.measured_on.instructions) == instructions()
    complete = len(table) == len(candidates)
    if same and complete and _is_clear(table):
        return _taken(candidates, table, "where the bundle was exported, on a processor with the same instructions")
    timable = engine in CPU_ENGINES and not any(bundle.to_be_tried(one.variant) for one in candidates)
    if timable:
        timed, failed = _times_here(bundle, engine, candidates, options, threads)
        if timed:
            able = [one for one in candidates if one.name in timed]
            return replace(_taken(able, timed, "here"), timed_here=True, left_out=failed)
    if complete:
        return _taken(candidates, table, "where the bundle was exported")
    name, why = choose_variant(manifest, variant, engine)
    return Configuration(name, EXACT, why, table)


def _exporter_times(bundle: Bundle, engine: str, candidates: Sequence[Candidate]) -> dict[str, float]:
    """Those of the candidates that the exporter timed."""
    manifest = bundle.manifest
    found = {}
    for one in candidates:
        calibrated = manifest.calibrated(one.variant, engine, one.compute)
        spent = (manifest.speeds or {}).get(engine, {}).get(one.variant) if one.compute == EXACT else None
        if calibrated is not None and one.compute != EXACT:
            spent = calibrated.milliseconds
        if spent is not None:
            found[one.name] = spent
    return found


def _is_clear(milliseconds: Mapping[str, float]) -> bool:
    first, second = sorted(milliseconds.values())[:2]
    return first < CLEAR * second


def _taken(candidates: Sequence[Candidate], milliseconds: Mapping[str, float], where: str) -> Configuration:
    """The fastest; exact computing where another compute gains next to nothing."""
    listed = ", ".join(f"{one.name} {milliseconds[one.name]:.3g} ms" for one in candidates)
    fastest = min(candidates, key=lambda one: milliseconds[one.name])
    exact = [one for one in candidates if one.compute == EXACT]
    if fastest.compute != EXACT and exact:
        other = min(exact, key=lambda one: milliseconds[one.name])
        if milliseconds[fastest.name] > WORTH * milliseconds[other.name]:
            reason = f"{fastest.name} is not worth it {where} ({listed})"
            return Configuration(other.variant, other.compute, reason, dict(milliseconds))
    return Configuration(fastest.variant, fastest.compute, f"it was the fastest {where} ({listed})", dict(milliseconds))


def _times_here(
    bundle: Bundle, engine: str, candidates: Sequence[Candidate], options: EngineOptions, threads: int | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Times on this machine, from the cache where they are there; and why others are missing."""
    timed_on = TimedOn(
        bundle=bundle.sha256,
        engine=engine,
        version=own_version(engine),
        processor=processor(),
        instructions=sorted(instructions() or ()),
        processors=processors(),
        threads=threads_of_quota() if threads is None else threads,
    )
    kept = read_timings(timed_on)
    if all(one.name in kept for one in candidates):
        return {one.name: kept[one.name] for one in candidates}, {}
    executors: dict[str, Executor] = {}
    failed: dict[str, str] = {}
    manifest = bundle.manifest
    try:
        for one in candidates:
            try:
                executors[one.name] = open_executor(
                    engine,
                    Graphs.of_variant(bundle.variant(one.variant)),
                    manifest,
                    bundle.noise_bank,
                    location=bundle.path,
                    options=replace(options, compute=one.compute),
                    threads=threads,
                )
            except (EngineError, EngineUnavailable) as error:
                failed[one.name] = str(error)
        looks, size = len(manifest.preprocessing.looks), manifest.preprocessing.image_size
        timed = time_executors(executors, looks, size) if executors else {}
    finally:
        for executor in executors.values():
            executor.close()
    return (timed if failed else keep_timings(timed_on, timed)), failed
