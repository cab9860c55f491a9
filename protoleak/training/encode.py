"""Everything that training reads: the images of the classes and beside them, listed, then encoded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from protoleak.dataset import Dataset, Sample, auxiliary_images, list_images
from protoleak.faces.framer import Framer
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.progress import Progress
from protoleak.training.inputs import Latents
from protoleak.training.latents import EncodedImages, Skipped, encode_images, require_every_class
from protoleak.training.settings import TrainingSettings


@dataclass(frozen=True)
class TrainingImages:
    """Everything that training reads, listed.

    Attributes:
        negatives, auxiliary: the folders, or None.
        negative_images: of no class; None without a folder.
        auxiliary_images: per auxiliary generator.
    """

    dataset: Dataset
    negatives: Path | None
    auxiliary: Path | None
    negative_images: Sequence[Path] | None
    auxiliary_images: Mapping[str, Sequence[Path]]

    @classmethod
    def of(cls, dataset: Dataset, negatives: Path | None, auxiliary: Path | None) -> TrainingImages:
        """Lists them before minutes are spent on the data set, so that a mistyped folder is refused at once."""
        return cls(
            dataset=dataset,
            negatives=negatives,
            auxiliary=auxiliary,
            negative_images=None if negatives is None else list_images(negatives),
            auxiliary_images={} if auxiliary is None else auxiliary_images(auxiliary, dataset),
        )

    def name(self, file: Path) -> str:
        """A file's name below its data folder: hashes don't depend on where a data set lies."""
        folders = [folder for folder in (self.negatives, self.auxiliary) if folder is not None]
        root = next((folder for folder in folders if file.is_relative_to(folder)), self.dataset.folder)
        return file.relative_to(root).as_posix()


@dataclass(frozen=True)
class EncodedSplit:
    """The readable images of one split, encoded, with the label of every latent."""

    images: EncodedImages
    latents: Latents


@dataclass(frozen=True)
class EncodedTraining:
    """All images of a training, encoded.

    Attributes:
        negatives: of no class; None without any.
        auxiliary: per auxiliary generator.
    """

    train: EncodedSplit
    validation: EncodedSplit
    negatives: EncodedImages | None
    auxiliary: Mapping[str, EncodedImages]

    @property
    def parts(self) -> dict[str, EncodedImages]:
        """All of them, by the name of the split."""
        negatives = {} if self.negatives is None else {"negatives": self.negatives}
        auxiliary = {f"auxiliary {name}": images for name, images in self.auxiliary.items()}
        return {"train": self.train.images, "validation": self.validation.images, **negatives, **auxiliary}

    @property
    def skipped(self) -> list[Skipped]:
        return [item for part in self.parts.values() for item in part.skipped]


def encode_all(
    listed: TrainingImages,
    latent_encoder: LatentEncoder,
    settings: TrainingSettings,
    framer: Framer,
    cache: Path | None,
    workers: int,
    progress: Progress,
) -> EncodedTraining:
    """Encodes everything, and refuses a class, an auxiliary generator or negatives without a readable image."""
    dataset = listed.dataset
    per_class = Counter(sample.label for sample in dataset.train)
    largest = max(per_class.values())

    def encode(split: str, paths: Sequence[Path], views: int | Sequence[int]) -> EncodedImages:
        def report(done: int, total: int) -> None:
            progress(f"encode {split}", done, total)

        return encode_images(
            latent_encoder,
            paths,
            views,
            settings.seed,
            framer,
            cache,
            report,
            operator_share=settings.operator_share,
            workers=workers,
        )

    def encode_split(split: str, samples: Sequence[Sample], views: int | Sequence[int]) -> EncodedSplit:
        images = encode(split, [sample.path for sample in samples], views)
        labels = torch.tensor([samples[image].label for image in images.image])
        of_image = _sources_of(dataset, samples)
        return EncodedSplit(images, Latents(images.z0, labels, of_image[images.image]))

    def encode_beside(split: str, folder: str, paths: Sequence[Path]) -> EncodedImages:
        """Images that no class of the model has, of which at least one must be readable."""
        found = encode(split, paths, settings.views_of(len(paths), largest))
        require_every_class(torch.zeros(len(found.image), dtype=torch.int64), (folder,), split, found.skipped)
        return found

    views = settings.views if settings.validation_views is None else settings.validation_views
    of_class = {label: settings.views_of(count, largest) for label, count in per_class.items()}
    train = encode_split("train", dataset.train, [of_class[sample.label] for sample in dataset.train])
    validation = encode_split("validation", dataset.validation, views)
    for split, part in (("train", train), ("validation", validation)):
        require_every_class(part.latents.labels, dataset.generators, split, part.images.skipped)
    negatives = listed.negative_images
    return EncodedTraining(
        train=train,
        validation=validation,
        negatives=None if negatives is None else encode_beside("negatives", str(listed.negatives), negatives),
        auxiliary={
            name: encode_beside(f"auxiliary {name}", name, paths) for name, paths in listed.auxiliary_images.items()
        },
    )


def _sources_of(dataset: Dataset, samples: Sequence[Sample]) -> torch.Tensor:
    """int64 [n], the number of the folder below its generator's that each image lies in: GENERATOR/SOURCE/…; 0 where it
    lies in the generator's folder itself."""
    parts = [sample.path.relative_to(dataset.folder).parts for sample in samples]
    names = [part[1] if len(part) > 2 else "" for part in parts]
    number = {name: index for index, name in enumerate(sorted(set(names)))}
    return torch.tensor([number[name] for name in names], dtype=torch.int64)


def labelled_by_place(images: Sequence[EncodedImages]) -> Latents:
    """All latents, labelled by their place in the list."""
    labels = [torch.full((len(one.z0),), label) for label, one in enumerate(images)]
    return Latents(torch.cat([one.z0 for one in images]), torch.cat(labels))
