"""How right the very artefact is that was timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from protoleak.bench.inputs import Labelled
from protoleak.bench.results import Accuracy
from protoleak.bundle.bundle import Bundle
from protoleak.evaluation.images import Image
from protoleak.evaluation.predictions import predictions_of
from protoleak.metrics.classes import Classes
from protoleak.metrics.intervals import Resamples
from protoleak.metrics.measures import measure
from protoleak.metrics.predictions import Kind
from protoleak.runtime import conformal
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.verdict import Label, Verdict

BATCH = 8

Outcome: TypeAlias = Verdict | None  # None for an image that gave no verdict


@dataclass(frozen=True)
class Attribution:
    """What a verdict says of an image: its label, and the generator that it names."""

    label: Label
    generator: str | None


@dataclass(frozen=True)
class Reference:
    """What another engine and variant said of the same images; None for an image that gave no verdict."""

    name: str
    attributions: tuple[Attribution | None, ...]


def screen(
    screener: ImagePipeline, images: Sequence[Labelled], progress: Callable[[int], None] = lambda _: None
) -> list[Outcome]:
    """The verdict on each image, in order.

    Args:
        progress: called with how many are done.
    """
    return list(_verdicts(screener, images, progress))


def _verdicts(
    screener: ImagePipeline, images: Sequence[Labelled], progress: Callable[[int], None]
) -> Iterator[Outcome]:
    paths = [image.path for image in images]
    for done, outcome in enumerate(screener.each(paths, batch_size=BATCH), start=1):
        progress(done)
        yield outcome if isinstance(outcome, Verdict) else None


def attributions(outcomes: Sequence[Outcome]) -> tuple[Attribution | None, ...]:
    """What each verdict says."""
    return tuple(None if one is None else Attribution(one.label, one.generator) for one in outcomes)


def judge(
    name: tuple[str, str, str],
    images: Sequence[Labelled],
    outcomes: Sequence[Outcome],
    bundle: Bundle,
    reference: Reference | None = None,
) -> Accuracy:
    """Compares verdicts with labels, by the measures of an evaluation without intervals over resamples.

    Args:
        name: engine, variant and compute.
        outcomes: one per image.
        bundle: whose variant gave the verdicts, all at one α.
        reference: the first engine and variant's, on the same images.
    """
    engine, variant, compute = name
    manifest = bundle.manifest
    classes = Classes.of(manifest.generators, manifest.real_class)
    pairs = [(image, verdict) for image, verdict in zip(images, outcomes, strict=True) if verdict is not None]
    accuracy = Accuracy(engine=engine, variant=variant, compute=compute, unreadable=len(outcomes) - len(pairs))
    if reference is not None:
        same = sum(one == other for one, other in zip(attributions(outcomes), reference.attributions, strict=True))
        accuracy = msgspec.structs.replace(accuracy, reference=reference.name, same_as_reference=same / len(outcomes))
    if not pairs:
        return accuracy
    predictions = predictions_of(
        [_image(image, classes) for image, _ in pairs], [verdict for _, verdict in pairs], classes
    )
    known, unknown = predictions.of_kind("known"), predictions.of_kind("unknown")
    names = list(dict.fromkeys(unknown.folders.tolist()))
    resamples = Resamples.none()
    promise = conformal.promise(bundle.variant(variant, engine, compute).calibration, pairs[0][1].alpha)
    measures = measure(variant, predictions, names, promise, resamples)
    return msgspec.structs.replace(
        accuracy,
        **msgspec.structs.asdict(measures),
        right=resamples.share(predictions.sources, predictions.right),
        known_right=resamples.share(known.sources, known.right) if len(known) else None,
    )


def _image(image: Labelled, classes: Classes) -> Image:
    """The image as an evaluation has it. Camera originals of a folder that is no class of the bundle are photographs
    from a source that training never saw."""
    if image.folder in classes.names:
        return Image(image.path, "known", image.folder, classes.names.index(image.folder), str(image.path))
    kind: Kind = "real" if image.kind == "camera" else "unknown"
    return Image(image.path, kind, image.folder if kind == "unknown" else "", -1, str(image.path))
