"""Runs a benchmark: every engine and variant that can run here, at each batch size. A failure is a row."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeAlias

import msgspec

from protoleak.bench.accuracy import Reference, attributions, judge, screen
from protoleak.bench.inputs import Labelled, drawn_images, labelled_images
from protoleak.bench.results import SCHEMA_VERSION, Accuracy, BundleFacts, Report, Row, configuration_name
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bench.timing import Baseline, Sample, Workload, compare, measure, screening, summarise
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.variants import choose_variant
from protoleak.choices import Arithmetic
from protoleak.environment.machine import Machine, describe_machine
from protoleak.environment.memory import forget_peak, peak_mib
from protoleak.errors import ProtoleakError, first_line
from protoleak.progress import Progress, no_progress
from protoleak.runtime.configuration import configure
from protoleak.runtime.engines import EngineOptions, choose, survey
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.screener import Screener

Configuration: TypeAlias = tuple[str, str, Arithmetic]  # engine, variant, compute
BASELINE: Configuration = ("pytorch eager", "fp32", "exact")
IMAGES = 16
UNDIVIDED, STAGE_RUNS = "gpu", 10
BUSY_SHARE = 0.5
ONLY_OPENVINO = "bf16"
NOTES = [
    "end to end: encoded images in memory to verdicts, one batch after the other; engines: latent encoder and "
    "attributor alone (of what is one CUDA graph all of it); milliseconds",
    "stages: decoding runs in threads ahead of the engines, so the stages of a batch may add up to more than the whole",
    "peak memory: resident memory of this one process, with everything that it had loaded by then; not the GPU's",
]


@dataclass
class _Measured:
    """What has been measured so far."""

    rows: list[Row]
    accuracy: list[Accuracy]
    baseline: dict[int, list[Sample]]
    baseline_errors: dict[int, str]
    reference: Reference | None = None


def run_benchmark(bundle: Bundle, settings: BenchmarkSettings, progress: Progress = no_progress) -> Report:
    """Measures a bundle.

    Args:
        progress: called with every configuration as a stage.

    Raises:
        BundleError: the bundle lacks a variant that was asked for.
        EngineUnavailable: there is no engine of a name that was asked for. (One that is not installed is a failed row.)
        DatasetError: the data set holds no images.
    """
    variants = [choose_variant(bundle.manifest, name)[0] for name in settings.variants or bundle.manifest.variants]
    engines, not_here = _engines(settings)
    judged = labelled_images(settings.data, bundle.manifest, settings.real_class) if settings.data else []
    machine = describe_machine(settings.device)
    images, described = _timed_images(judged)
    baseline, problem = _baseline(bundle, settings)
    measured = _Measured([], [], {}, {} if problem is None else dict.fromkeys(settings.batch_sizes, problem))
    todo: list[Configuration] = [
        (engine, variant, compute)
        for engine in dict.fromkeys(engines)
        for variant in dict.fromkeys(variants)
        for compute in _computes(bundle, settings, engine, variant)
    ]
    for number, name in enumerate(todo, start=1):
        stage = f"{number} of {len(todo)}: {configuration_name(*name)}"
        progress(stage, 0, 1)
        _measure_configuration(bundle, settings, name, images, judged, baseline, measured)
        progress(stage, 1, 1)
    return Report(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        bundle=BundleFacts(bundle.manifest.name, bundle.sha256, _gates(bundle)),
        machine=machine,
        images=described,
        data=f"{len(judged)} images of {settings.data}" if judged else None,
        alpha=bundle.manifest.alpha if settings.alpha is None else settings.alpha,
        warm_up=settings.warm_up,
        not_here=not_here,
        rows=measured.rows + (_baseline_rows(measured, settings) if settings.baseline_model else []),
        accuracy=measured.accuracy,
        notes=NOTES + _busy(machine),
    )


def _engines(settings: BenchmarkSettings) -> tuple[list[str], dict[str, str]]:
    if settings.engines is not None:
        return [choose(name, settings.device)[0] for name in settings.engines], {}
    found = survey(settings.device)
    return [item.engine for item in found if item.runs], {item.engine: item.detail for item in found if not item.runs}


def _computes(bundle: Bundle, settings: BenchmarkSettings, engine: str, variant: str) -> list[Arithmetic]:
    """What a variant is measured in."""
    found: list[Arithmetic] = []
    for compute in settings.computes:
        if compute == "auto":
            try:
                options = EngineOptions(compute=compute, device=settings.device)
                found.append(configure(bundle, engine, variant, options, settings.threads).compute)
            except ProtoleakError:  # said in the row of exact computing
                found.append("exact")
        elif compute != ONLY_OPENVINO or engine == "openvino":
            found.append(compute)
    return list(dict.fromkeys(found))


def _timed_images(judged: Sequence[Labelled]) -> tuple[list[bytes], str]:
    """Encoded images: from all over the data set where there is one."""
    if not judged:
        return drawn_images(IMAGES), f"{IMAGES} drawn JPEGs of 512×512"
    chosen = judged[:: max(1, len(judged) // IMAGES)][:IMAGES]
    return [image.path.read_bytes() for image in chosen], f"{len(chosen)} images of the data set"


def _baseline(bundle: Bundle, settings: BenchmarkSettings) -> tuple[Workload | None, str | None]:
    """Eager PyTorch, or why there is none."""
    if settings.baseline_model is None:
        return None, None
    try:
        from protoleak.bench.baseline import eager_pytorch

        return eager_pytorch(settings.baseline_model, bundle.manifest, settings.threads), None
    except ModuleNotFoundError as error:
        return None, f'{error.name} is not installed: pip install "protoleak[export]"'
    except Exception as error:  # a failure is a row
        return None, _one_line(error)


def _measure_configuration(
    bundle: Bundle,
    settings: BenchmarkSettings,
    name: Configuration,
    images: Sequence[bytes],
    judged: Sequence[Labelled],
    baseline: Workload | None,
    measured: _Measured,
) -> None:
    gc.collect()  # the last configuration's buffers
    forget_peak()
    try:
        screener = _opened(bundle, settings, name, whole=not judged)  # there is no face in drawn images
    except Exception as error:  # libraries raise errors of their own; a failure is a row and the others go on
        measured.rows += [_failed(name, batch, error) for batch in settings.batch_sizes]
        if judged:
            measured.accuracy.append(_not_judged(name, error))
        return
    for batch in settings.batch_sizes:
        try:
            measured.rows.append(_row(bundle, settings, name, batch, screener, images, baseline, measured))
        except Exception as error:  # see above
            measured.rows.append(_failed(name, batch, error))
    if judged:
        try:
            outcomes = screen(screener, judged)
        except Exception as error:  # see above
            measured.accuracy.append(_not_judged(name, error))
            return
        measured.accuracy.append(judge(name, judged, outcomes, bundle, measured.reference))
        measured.reference = measured.reference or Reference(configuration_name(*name), attributions(outcomes))


def _opened(
    bundle: Bundle, settings: BenchmarkSettings, name: Configuration, whole: bool, stage_times: bool = False
) -> ImagePipeline:
    """What judges images: by their largest face as a user's are, or for `whole` as they are, whatever they show."""
    engine, variant, compute = name
    options = EngineOptions(
        compute=compute,
        device=settings.device,
        batch_maximum=max(8, *settings.batch_sizes),
        stage_times=stage_times,
        notify=lambda _: None,  # what it would say is in the row's settings
    )
    pipeline = ImagePipeline if whole else Screener
    return pipeline(
        bundle,
        alpha=settings.alpha,
        variant=variant,
        engine=engine,
        threads=settings.threads,
        engine_options=options,
    )


def _row(
    bundle: Bundle,
    settings: BenchmarkSettings,
    name: Configuration,
    batch: int,
    screener: ImagePipeline,
    images: Sequence[bytes],
    baseline: Workload | None,
    measured: _Measured,
) -> Row:
    engine, variant, compute = name
    workload = screening(screener)
    guarded = None if baseline is None else _guarded(baseline, batch, measured)
    timing, theirs = measure(workload, images, batch, settings.runs, settings.warm_up, guarded)
    measured.baseline.setdefault(batch, []).extend(theirs)
    if UNDIVIDED in timing.stages:  # the parts of a CUDA graph can only be timed without it
        apart = screening(_opened(bundle, settings, name, not isinstance(screener, Screener), stage_times=True))
        parts, _ = measure(apart, images, batch, min(settings.runs, STAGE_RUNS), settings.warm_up)
        timing = msgspec.structs.replace(timing, stages=parts.stages)
    graphs = bundle.variant(variant)
    peak = peak_mib()
    forget_peak()
    return Row(
        engine=engine,
        variant=variant,
        compute=compute,
        batch=batch,
        device=screener.engine.device,
        settings=screener.engine.settings,
        timing=timing,
        peak_memory_mib=peak,
        model_bytes=len(graphs.latent_encoder) + len(graphs.attributor),
        baseline=compare(timing, theirs) if theirs else None,
    )


def _guarded(baseline: Workload, batch: int, measured: _Measured) -> Baseline:
    """The baseline at one batch size: once it has failed there it is left out, and the engines are timed without."""

    def run(images: Sequence[bytes]) -> Sample | None:
        if batch in measured.baseline_errors:
            return None
        try:
            return baseline(images)
        except Exception as error:  # see _measure_configuration
            measured.baseline_errors[batch] = _one_line(error)
            return None

    return run


def _baseline_rows(measured: _Measured, settings: BenchmarkSettings) -> list[Row]:
    engine, variant, compute = BASELINE
    rows = []
    for batch in settings.batch_sizes:
        samples = measured.baseline.get(batch)
        error = measured.baseline_errors.get(batch) or (None if samples else "nothing ran that it could be timed with")
        timing = summarise(samples) if samples and error is None else None
        rows.append(
            Row(
                engine=engine,
                variant=variant,
                compute=compute,
                batch=batch,
                error=error,
                device=None if error else "CPU",
                timing=timing,
            )
        )
    return rows


def _failed(name: Configuration, batch: int, error: Exception) -> Row:
    engine, variant, compute = name
    return Row(engine=engine, variant=variant, compute=compute, batch=batch, error=_one_line(error))


def _not_judged(name: Configuration, error: Exception) -> Accuracy:
    engine, variant, compute = name
    return Accuracy(engine=engine, variant=variant, compute=compute, error=_one_line(error))


def _one_line(error: Exception) -> str:
    kind = "" if isinstance(error, ProtoleakError) else f"{type(error).__name__}: "
    return kind + first_line(error)


def _busy(machine: Machine) -> list[str]:
    load = machine.load_average
    if load is None or load <= BUSY_SHARE * machine.cores:
        return []
    return [f"the machine was busy before the first row (load {load:.1f} on {machine.cores} cores): measure again idle"]


def _gates(bundle: Bundle) -> dict[str, bool]:
    """Variant → whether its gate passed, of those whose report says so."""
    found = {}
    for name in bundle.manifest.variants:
        gate = bundle.variant(name).report.gate
        if gate is not None:
            found[name] = gate.passes
    return found
