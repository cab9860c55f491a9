"""Runs a benchmark: every engine and variant that can run here, at each batch size. A failure is a row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from protoleak.bench.inputs import Labelled, drawn_images, labelled_images
from protoleak.bench.measuring import EngineConfiguration, Measurements, error_line
from protoleak.bench.results import SCHEMA_VERSION, BundleFacts, Report
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bench.timing import Workload
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.variants import choose_variant
from protoleak.choices import Arithmetic
from protoleak.environment.machine import Machine, describe_machine
from protoleak.errors import ProtoleakError
from protoleak.progress import Progress, no_progress
from protoleak.runtime.configuration import configure
from protoleak.runtime.engines import EngineOptions, choose, survey

IMAGES = 16
BUSY_SHARE = 0.5
ONLY_OPENVINO = "bf16"
NOTES = [
    "end to end: encoded images in memory to verdicts, one batch after the other; engines: latent encoder and "
    "attributor alone (of what is one CUDA graph all of it); milliseconds",
    "stages: decoding runs in threads ahead of the engines, so the stages of a batch may add up to more than the whole",
    "peak memory: resident memory of this one process, with everything that it had loaded by then; not the GPU's",
]


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
    measurements = Measurements(bundle, settings, images, judged, baseline, problem)
    todo = [
        EngineConfiguration(engine, variant, compute)
        for engine in dict.fromkeys(engines)
        for variant in dict.fromkeys(variants)
        for compute in _computes(bundle, settings, engine, variant)
    ]
    for number, configuration in enumerate(todo, start=1):
        stage = f"{number} of {len(todo)}: {configuration.name}"
        progress(stage, 0, 1)
        measurements.add(configuration)
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
        rows=measurements.rows + (measurements.baseline_rows() if settings.baseline_model else []),
        accuracy=measurements.accuracy,
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
        return None, error_line(error)


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
