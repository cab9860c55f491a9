"""Evaluates the variants of a bundle, one after another, on the same images and the same resamples."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.variants import choose_variant
from protoleak.environment.machine import describe_machine
from protoleak.errors import ProtoleakError
from protoleak.evaluation import plot_data
from protoleak.evaluation.by_source import accused_faces, source_rows
from protoleak.evaluation.images import Image, Images, per_folder, read_images
from protoleak.evaluation.predictions import predictions_of, screen_images
from protoleak.evaluation.results import SCHEMA_VERSION, BundleFacts, Report, VariantReport
from protoleak.evaluation.robustness import measure_robustness
from protoleak.evaluation.settings import EvaluationSettings
from protoleak.evaluation.tables import reading_notes
from protoleak.images.sources import name_in_messages
from protoleak.metrics.classes import Classes
from protoleak.metrics.intervals import Resamples
from protoleak.metrics.measures import measure, real_faces
from protoleak.progress import Progress, no_progress
from protoleak.runtime.conformal import check_alpha, promise
from protoleak.runtime.engines import EngineOptions
from protoleak.screener import Screener

Key = TypeVar("Key")


def evaluate_bundle(bundle: Bundle, settings: EvaluationSettings, progress: Progress = no_progress) -> Report:
    """Evaluates a bundle. A variant that cannot be measured is a report with its error, and the others go on.

    Args:
        progress: called with every variant's parts as stages.

    Raises:
        DatasetError: the images don't fit the bundle; see `read_images`.
        BundleError: no such variant.
        CalibrationError: α is no significance level.
    """
    alpha = bundle.manifest.alpha if settings.alpha is None else settings.alpha
    check_alpha(alpha)
    variants = settings.variants or tuple(bundle.manifest.variants)
    for name in variants:
        choose_variant(bundle.manifest, name)
    images = read_images(bundle.manifest, settings)
    resamples = Resamples([image.source for image in images.all], settings.resamples, settings.seed)
    reports = [_variant(bundle, name, images, settings, resamples, progress) for name in variants]
    accused = {one.variant: None if one.real_faces is None else one.real_faces.accused for one in reports}
    return Report(
        real_faces_accused=accused,
        schema_version=SCHEMA_VERSION,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        bundle=BundleFacts(
            bundle.manifest.name, bundle.sha256, list(bundle.manifest.generators), bundle.manifest.real_class
        ),
        machine=describe_machine(settings.device),
        alpha=alpha,
        seed=settings.seed,
        resamples=settings.resamples,
        sources=resamples.sources,
        images=[*images.facts, *_counts(images)],
        variants=reports,
        notes=reading_notes(bundle.manifest, settings, images, reports),
    )


def _variant(
    bundle: Bundle,
    name: str,
    images: Images,
    settings: EvaluationSettings,
    resamples: Resamples,
    progress: Progress,
) -> VariantReport:
    try:
        options = EngineOptions(
            compute=settings.compute,
            device=settings.device,
            batch_maximum=max(8, settings.batch_size),
            notify=lambda _: None,
        )
        screener = Screener(
            bundle,
            alpha=settings.alpha,
            variant=name,
            engine=settings.engine,
            threads=settings.threads,
            engine_options=options,
        )
        return _measured(bundle, name, screener, images, settings, resamples, progress)
    except ProtoleakError as error:  # a failure is a row, and the other variants go on
        return VariantReport(variant=name, engine=settings.engine, error=str(error))


def _measured(
    bundle: Bundle,
    name: str,
    screener: Screener,
    images: Images,
    settings: EvaluationSettings,
    resamples: Resamples,
    progress: Progress,
) -> VariantReport:
    manifest = bundle.manifest
    classes = Classes.of(manifest.generators, manifest.real_class)

    def show(done: int, of: int) -> None:
        progress(f"{name}: images as they are", done, of)

    def show_operators(done: int, of: int) -> None:
        progress(f"{name}: images after operators", done, of)

    paths = [image.path for image in images.all]
    outcomes = screen_images(screener, paths, len(paths), settings.batch_size, show)
    found = outcomes.verdicts(range(len(paths)))
    judged = [(images.all[index], verdict) for index, verdict in found]
    predictions = predictions_of([images.all[index] for index, _ in found], [verdict for _, verdict in found], classes)
    known, unknown, real = (predictions.of_kind(kind) for kind in ("known", "unknown", "real"))
    robustness = None
    if settings.operators:
        robustness = measure_robustness(screener, classes, images.all, settings, resamples, show_operators)
    progress(f"{name}: intervals", 0, 1)
    promised = promise(screener.calibration, screener.alpha)
    measures = measure(name, predictions, images.unknown_generators, promised, resamples)
    if settings.photographs is not None:  # even where no photograph can be read: 0 of 0 says so
        measures = msgspec.structs.replace(measures, real_faces=real_faces(real, resamples))
    report = VariantReport(
        **msgspec.structs.asdict(measures),
        engine=screener.engine.name,
        device=screener.engine.device,
        compute=screener.compute,
        robustness=robustness,
        roc=plot_data.roc_curves(known, unknown, real),
        confusion=plot_data.confusion(known, unknown, real),
        densities=plot_data.densities(known, unknown, real),
        by_source=source_rows(judged, manifest.real_class, resamples),
        accused=accused_faces(judged, manifest.real_class),
        timestep_weights=_mean([verdict.why.timestep_weights for _, verdict in judged]),
        look_weights=_mean([verdict.why.look_weights for _, verdict in judged]),
        unreadable=[_failure(images.all[index], text) for index, text in outcomes.errors(range(len(paths)))],
    )
    progress(f"{name}: intervals", 1, 1)
    return report


def _mean(weights: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    """Key by key."""
    return {key: sum(one[key] for one in weights) / len(weights) for key in (weights[0] if weights else ())}


def _shown(image: Image) -> str:
    return "/".join(part for part in (image.folder or "real photographs", image.path.name) if part)


def _failure(image: Image, text: str) -> str:
    """A line without the place on this machine, which the text of a MediaError begins with."""
    return f"{_shown(image)}: {text.removeprefix(f'{name_in_messages(str(image.path))}: ')}"


def _counts(images: Images) -> list[str]:
    counts = {
        f"{folder or 'real photographs'}{' (unknown)' if kind == 'unknown' else ''}": len(positions)
        for (kind, folder), positions in per_folder(images.all).items()
    }
    return [", ".join(f"{name} {count}" for name, count in counts.items())]
