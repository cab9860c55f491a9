"""What is fitted to the network's embeddings of the training images: head, density, class statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protoleak.bundle.class_statistics import ClassStatistics
from protoleak.calibration.class_statistics import fit_class_statistics
from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.heads import Head, PrototypeHead, fit_head
from protoleak.calibration.posterior import PosteriorDensity
from protoleak.export.features import Features, network_features
from protoleak.export.images import ImageSet
from protoleak.export.inputs import ExportInputs
from protoleak.export.settings import ExportSettings
from protoleak.faces.framer import Framer
from protoleak.model.checkpoint import TrainedModel
from protoleak.progress import Progress


@dataclass(frozen=True)
class Fitted:
    """What is fitted to the training images, and how many there were.

    Attributes:
        statistics: what a newcomer will be told by; None where head and density allow no enrolment.
        used: readable images per set.
        skipped: a line per file that is no readable image.
    """

    head: Head
    density: DensityModel | PosteriorDensity
    statistics: ClassStatistics | None
    used: dict[str, int]
    skipped: tuple[str, ...]


def fit_on_embeddings(
    model: TrainedModel, inputs: ExportInputs, settings: ExportSettings, cache: Path | None, progress: Progress
) -> Fitted:
    """Fits head and density on the network's embeddings."""
    train = _features(model, inputs.train, inputs.framer, cache, progress)
    validation = _features(model, inputs.evaluation.validation, inputs.framer, cache, progress)
    head = fit_head(
        settings.head,
        train.embedding,
        train.gate,
        train.labels,
        validation.embedding,
        validation.gate,
        validation.labels,
        model.config.generators,
    )
    auxiliary = None if inputs.auxiliary is None else _features(model, inputs.auxiliary, inputs.framer, cache, progress)
    density: DensityModel | PosteriorDensity
    if settings.density_space == "posterior":
        network = model.attributor
        density = PosteriorDensity.fit(
            network.prototypes.detach().numpy(),
            network.auxiliary_prototypes.numpy(),
            network.temperature,
            train.embedding,
            train.gate,
            floor_quantile=settings.density_floor,
            levelled=network.config.levelled,
        )
    else:
        density = fit_density(
            train.embedding,
            train.gate,
            train.labels,
            validation.embedding,
            validation.gate,
            space=settings.density_space,
            bandwidth=settings.density_bandwidth,
            auxiliary=None if auxiliary is None else (auxiliary.embedding, auxiliary.gate),
            contrast=0.0 if auxiliary is None else settings.contrast,
        )
    used = {"train": len(train.labels)}
    skipped = inputs.train.lines(train.skipped)
    if inputs.auxiliary is not None and auxiliary is not None:
        used["auxiliary"] = len(auxiliary.labels)
        skipped += inputs.auxiliary.lines(auxiliary.skipped)
    statistics = None
    if isinstance(head, PrototypeHead) and isinstance(density, PosteriorDensity):
        classes = len(model.config.generators)
        statistics = fit_class_statistics(train.statistics, train.embedding, train.labels, classes)
    return Fitted(head, density, statistics, used, tuple(skipped))


def _features(
    model: TrainedModel, images: ImageSet, framer: Framer, cache: Path | None, progress: Progress
) -> Features:
    def show(done: int) -> None:
        progress(f"encode {images.name} images", done, len(images.paths))

    return network_features(model, images.paths, images.labels, framer, cache, show)
