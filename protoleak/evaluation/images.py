"""Which images a bundle is evaluated on, and which source image each of them comes from.

The source of an image is its path below its generator's folder, without the suffix. Where generators were run over the
same content (`known/nearest_decoder/0123.jpg`, `known/transposed_decoder/0123.jpg`), equal names are one source, over
known and unknown generators alike. Where names are equal by chance, as with plain numbers, unrelated images are
resampled together, which costs nothing but a little precision. Real photographs are sources of their own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from protoleak.bundle.manifest import Manifest
from protoleak.choices import Split
from protoleak.dataset import SPLIT_FILE, Dataset, generator_folders, list_images, read_dataset
from protoleak.dataset_copies import find_copies
from protoleak.errors import DatasetError
from protoleak.evaluation.settings import EvaluationSettings
from protoleak.metrics.predictions import Kind

SEEN_SPLITS = ("train", "validation", "calibration")


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        kind: of a class that the bundle knows (its camera class among them), of a generator that it doesn't know, or a
            photograph from a source that training never saw.
        folder: the class or the unknown generator; empty for real photographs.
        label: index of its class, -1 where it has none.
        source: what it was made from.
    """

    path: Path
    kind: Kind
    folder: str
    label: int
    source: str


@dataclass(frozen=True)
class Images:
    """All images of an evaluation, in a stable order, and in words which they are."""

    all: tuple[Image, ...]
    facts: tuple[str, ...]

    @property
    def unknown_generators(self) -> list[str]:
        return list(dict.fromkeys(image.folder for image in self.all if image.kind == "unknown"))


def read_images(manifest: Manifest, settings: EvaluationSettings) -> Images:
    """Lists the images; it opens none but those whose bytes are compared.

    `data` is divided as `train` and `export` divide it. With split "auto", the test split is taken where there is a
    Split.json, or where the bundle's record of its training says that it was trained on this very folder; else every
    image is.

    Unknown generators' images are left out where they share their source with an image that training, validation or
    calibration saw, if the generator's names are those of the data set, that is, where it has a source in common with
    the test split.

    Raises:
        DatasetError: folders that don't fit the bundle, no image, or test images that are also training images.
    """
    found: list[Image] = []
    facts: list[str] = []
    dataset = None
    if settings.data is not None:
        found, facts, dataset = _known(manifest, settings.data, settings.split)
    if settings.unknown is not None:
        unknown, more = _unknown(manifest, settings.unknown, dataset)
        found, facts = found + unknown, facts + more
    if settings.photographs is not None:
        paths = list_images(settings.photographs)
        found += [
            Image(path, "real", "", -1, "real photograph " + _source(path.relative_to(settings.photographs).as_posix()))
            for path in paths
        ]
        facts.append(f"real photographs: {len(paths)} of {settings.photographs.resolve().name}")
    return Images(tuple(found), tuple(facts))


def _known(manifest: Manifest, folder: Path, choice: Split) -> tuple[list[Image], list[str], Dataset | None]:
    """Images of known classes, what they are in words, and the data set where its test split is taken."""
    names = [entry.name for entry in generator_folders(folder, "--data")]
    strange = [name for name in names if name not in manifest.generators]
    if strange or not names:
        holds = ", ".join(strange) or "no folder"
        raise DatasetError(
            f"--data {folder} holds {holds}, and the bundle knows {', '.join(manifest.generators)}: folders must have "
            "these names; give generators that it doesn't know with --unknown"
        )
    here = folder.resolve().name
    if choice == "all":
        return _every(manifest, folder, names), [f"known classes: every image of {here}, as asked for"], None
    if choice == "auto" and not (folder / SPLIT_FILE).is_file() and not _trained_on(manifest, folder, names):
        fact = (
            f"known classes: every image of {here}, which has no {SPLIT_FILE} and doesn't look like the data that "
            "the bundle was trained on"
        )
        return _every(manifest, folder, names), [fact], None
    dataset = read_dataset(folder)
    if not dataset.test:
        raise DatasetError(f"{folder} has no test image: list some in {SPLIT_FILE}, or give --split all")
    _check_disjoint(dataset)
    by = SPLIT_FILE if (folder / SPLIT_FILE).is_file() else "name order, 70/15/15"
    images = [
        Image(sample.path, "known", name, manifest.generators.index(name), _source(sample.name))
        for sample in dataset.test
        for name in [dataset.generators[sample.label]]
    ]
    facts = [f"known classes: the test split of {here} ({by})"]
    seen = _seen_sources(dataset)
    shared = sum(image.source in seen for image in images)
    if shared:
        facts.append(
            f"{shared} of {len(images)} test images have the name of an image in another split: unless names mean "
            "nothing here, their content was seen in training"
        )
    return images, facts, dataset


def _every(manifest: Manifest, folder: Path, names: Sequence[str]) -> list[Image]:
    return [
        Image(path, "known", name, manifest.generators.index(name), _source(path.relative_to(folder / name).as_posix()))
        for name in names
        for path in list_images(folder / name)
    ]


def _unknown(manifest: Manifest, folder: Path, dataset: Dataset | None) -> tuple[list[Image], list[str]]:
    folders = generator_folders(folder, "--unknown")
    known = [path.name for path in folders if path.name in manifest.generators]
    if known:
        raise DatasetError(f"--unknown {folder} holds {', '.join(known)}, which the bundle knows: move it to --data")
    tested = set() if dataset is None else {_source(sample.name) for sample in dataset.test}
    seen = set() if dataset is None else _seen_sources(dataset)
    found: list[Image] = []
    left_out: Counter[str] = Counter()
    for place in folders or [folder]:
        images = [
            Image(path, "unknown", place.name, -1, _source(path.relative_to(place).as_posix()))
            for path in list_images(place)
        ]
        kept = images
        if any(image.source in tested for image in images):
            kept = [image for image in images if image.source not in seen]
            left_out[place.name] = len(images) - len(kept)
        found += kept
    facts = [f"unknown generators: {len(found)} images of {', '.join(path.name for path in folders or [folder])}"]
    if left_out.total():
        facts.append(
            f"left out: {left_out.total()} images of unknown generators, since training, validation or calibration "
            "saw their source image through a known one"
        )
    return found, facts


def _source(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _seen_sources(dataset: Dataset) -> set[str]:
    return {_source(sample.name) for split in SEEN_SPLITS for sample in getattr(dataset, split)}


def _trained_on(manifest: Manifest, folder: Path, names: Sequence[str]) -> bool:
    """Whether the bundle's record of its training names this folder, or as many images per class and split as the
    folder gives without a Split.json."""
    record = manifest.provenance.get("model")
    if not isinstance(record, dict):
        return False
    if record.get("data") == folder.resolve().name:
        return True
    images = record.get("images")
    if len(names) < 2 or not isinstance(images, dict) or any(len(list_images(folder / name)) < 2 for name in names):
        return False
    dataset = read_dataset(folder)
    counts = Counter(dataset.generators[sample.label] for sample in dataset.train)
    return bool(images.get("train") == dict(counts))


def _check_disjoint(dataset: Dataset) -> None:
    """Raises DatasetError where a test image has the very bytes of one in another split."""
    placed = [(sample.path, "seen") for split in SEEN_SPLITS for sample in getattr(dataset, split)]
    copies = find_copies([*placed, *((sample.path, "test") for sample in dataset.test)])
    if copies:
        first = copies[0][1].relative_to(dataset.folder).as_posix()
        raise DatasetError(
            f"{len(copies)} test images of {dataset.folder} are copies of images in its other splits, the first is "
            f"{first}: take them out, or the bundle is tested on what it was made from"
        )


def per_folder(images: Iterable[Image]) -> dict[tuple[Kind, str], list[int]]:
    """Positions of the images of each kind and folder."""
    found: dict[tuple[Kind, str], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        found[image.kind, image.folder].append(index)
    return dict(found)
