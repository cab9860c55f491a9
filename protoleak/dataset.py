"""A data set on disk: one folder per generator, and which of its images serve what.

The layout is WILD's (arXiv 2504.19595): `<data>/<generator>/…images`, with or without `<data>/Split.json`. Split.json
has one of the two published forms, for each of its splits:

    {"train": [0, 1, 5], "val": […], "test": […]}           indices into every class's files in lower-cased name order
    {"train": {"sdxl": ["a.png", "b.png"], …}, …}           names of files, per class

An optional "calibration" split has the same forms. Without it, each class's validation images are dealt in turn to
validation and calibration, so that neither training, early stopping nor the density has seen the calibration images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from protoleak.errors import DatasetError
from protoleak.strict_json import decode_json

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SPLIT_FILE = "Split.json"
SPLIT_KEYS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    "calibration": ("calibration",),
}
TRAIN_SHARE, TRAIN_AND_VALIDATION_SHARE = 0.7, 0.85  # as published


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Attributes:
        path: of the image file.
        label: index of its generator.
        name: path relative to the generator's folder, with forward slashes.
    """

    path: Path
    label: int
    name: str


@dataclass(frozen=True)
class Dataset:
    """Images of two or more generators in four disjoint splits, in order of generator and then of name.

    Attributes:
        generators: folder names, sorted; a sample's label is an index into it.
        real_class: the generator that stands for camera originals, or None.
        train, validation, calibration, test: the splits. Each generator has at least one training and one validation
            image; calibration and test may be empty.
    """

    folder: Path
    generators: tuple[str, ...]
    real_class: str | None
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    calibration: tuple[Sample, ...]
    test: tuple[Sample, ...]


def read_dataset(folder: str | Path, real_class: str | None = None) -> Dataset:
    """Reads which images a data set has; it opens none of them. The result depends on file names alone.

    Without Split.json each class's files are divided 70/15/15 in name order, with the published rounding, and so
    that from three images on every one of training, validation and test gets one.

    Args:
        folder: holds one folder per generator, with images at any depth. Hidden files and folders are ignored.
        real_class: the folder of camera originals, or None.

    Raises:
        DatasetError: fewer than two classes, a class with fewer than two images, a real class that is no folder, or
            a Split.json that contradicts the files or itself.
    """
    root = Path(folder)
    classes = [entry.name for entry in generator_folders(root)]
    if len(classes) < 2:
        found = f"only the folder {classes[0]!r}" if classes else "no folder"
        raise DatasetError(f"{root} holds {found}: attribution needs at least two classes, one folder of images each")
    if real_class is not None and real_class not in classes:
        raise DatasetError(f"the real class {real_class!r} is no folder of {root}: choose one of {', '.join(classes)}")
    files = {name: _class_files(root / name) for name in classes}
    split_file = root / SPLIT_FILE
    if split_file.is_file():
        chosen = _read_split_file(split_file, files)
    else:
        chosen = {name: _split_by_name(len(files[name])) for name in classes}
    splits: dict[str, list[Sample]] = {split: [] for split in SPLIT_KEYS}
    for label, name in enumerate(classes):
        for split, indices in chosen[name].items():
            splits[split] += [Sample(root / name / files[name][i], label, files[name][i]) for i in indices]
    return Dataset(root, tuple(classes), real_class, **{split: tuple(samples) for split, samples in splits.items()})


def generator_folders(folder: Path, option: str = "") -> list[Path]:
    """The visible folders in a folder, by name: one per generator.

    Args:
        option: that the folder was given with, for the message.

    Raises:
        DatasetError: it is no folder.
    """
    if not folder.is_dir():
        shown = f"{option} {folder}".lstrip()
        raise DatasetError(f"{shown} is not a folder: give one that holds a folder of images per generator")
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def auxiliary_images(folder: Path, dataset: Dataset) -> dict[str, tuple[Path, ...]]:
    """Images of each auxiliary generator, in order of name: one folder per generator that is learnt and never named.

    Raises:
        DatasetError: it is no folder, holds no folders or an empty one, or one that has the name of a class.
    """
    folders = generator_folders(folder, "--auxiliary")
    if not folders:
        raise DatasetError(f"{folder} holds no folder: give one with a folder of images per generator")
    for generator in folders:
        if generator.name in dataset.generators:
            raise DatasetError(
                f"{generator} has the name of a class of {dataset.folder}: take it out of one of the two"
            )
    return {generator.name: list_images(generator) for generator in folders}


def list_images(folder: str | Path) -> tuple[Path, ...]:
    """All images below a folder, at any depth, in lower-cased name order: for unknown images and negatives.

    Raises:
        DatasetError: it is no folder, or holds no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: give one that holds images")
    names = _image_names(root)
    if not names:
        raise DatasetError(f"{root} holds no image: files ending in {', '.join(IMAGE_SUFFIXES)} are looked for")
    return tuple(root / name for name in names)


def _image_names(folder: Path) -> list[str]:
    """Relative names of the images below a folder, by lower-cased name; the exact name settles ties."""
    relative = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    visible = (path for path in relative if not any(part.startswith(".") for part in path.parts))
    return sorted((path.as_posix() for path in visible if (folder / path).is_file()), key=lambda n: (n.lower(), n))


def _class_files(folder: Path) -> list[str]:
    names = _image_names(folder)
    if len(names) < 2:
        count = "one image" if names else f"no image ({', '.join(IMAGE_SUFFIXES)})"
        raise DatasetError(
            f"the class {folder.name!r} has {count} in {folder}: give it at least two, one to train on and one to "
            "validate with, or move the folder away"
        )
    return names


def _split_by_name(count: int) -> dict[str, Sequence[int]]:
    train_end = max(1, round(TRAIN_SHARE * count))
    validation_end = min(count, max(train_end + 1, round(TRAIN_AND_VALIDATION_SHARE * count)))
    if validation_end == count and count > 2:  # leave one to test with
        validation_end = count - 1
    train_end = min(train_end, validation_end - 1)
    return {
        "train": range(train_end),
        "test": range(validation_end, count),
        **_deal(range(train_end, validation_end)),
    }


def _deal(validation: Sequence[int]) -> dict[str, Sequence[int]]:
    """Every second validation image goes to calibration."""
    return {"validation": validation[0::2], "calibration": validation[1::2]}


def _read_split_file(path: Path, files: Mapping[str, list[str]]) -> dict[str, dict[str, Sequence[int]]]:
    """Per class, the indices of each split."""
    try:
        content = decode_json(path.read_bytes(), dict[str, object])
    except (OSError, msgspec.DecodeError) as error:
        raise DatasetError(f"{path} cannot be read as a list of splits: {error}") from error
    entries: dict[str, tuple[str, object]] = {}
    for split, aliases in SPLIT_KEYS.items():
        present = [alias for alias in aliases if alias in content]
        if len(present) > 1:
            raise DatasetError(f"{path} has both {present[0]!r} and {present[1]!r}: keep one of them")
        if present:
            entries[split] = (present[0], content[present[0]])
        elif split in ("train", "validation"):
            raise DatasetError(f"{path} has no {aliases[0]!r}: add that split, or remove the file to split by name")
    chosen: dict[str, dict[str, Sequence[int]]] = {name: {} for name in files}
    for split, (key, entry) in entries.items():
        for name, indices in _resolve_split(path, key, entry, files):
            chosen[name][split] = indices
    for name, splits in chosen.items():
        _check_splits(path, name, splits, files[name])
        if "calibration" not in entries:
            splits.update(_deal(splits["validation"]))
    return chosen


def _resolve_split(
    path: Path, key: str, entry: object, files: Mapping[str, list[str]]
) -> Iterator[tuple[str, Sequence[int]]]:
    if isinstance(entry, list):
        for index in entry:
            if type(index) is not int:
                raise DatasetError(f"{path}: {key!r} holds {index!r}, which is no index: give whole numbers from 0")
        for name, names in files.items():
            for index in entry:
                if not 0 <= index < len(names):
                    raise DatasetError(
                        f"{path}: {key!r} holds the index {index}, but the class {name!r} has {len(names)} images "
                        f"(0 to {len(names) - 1}): correct the list, or give file names per class"
                    )
            yield name, sorted(entry)
    elif isinstance(entry, dict):
        for name, listed in entry.items():
            if name not in files:
                has = ", ".join(files)
                raise DatasetError(f"{path}: {key!r} names the class {name!r}, which is no folder; there are: {has}")
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                raise DatasetError(f"{path}: {key!r}, class {name!r}: give a list of file names")
            yield name, _find_names(path, key, name, listed, files[name])
    else:
        raise DatasetError(f"{path}: {key!r} is neither a list of indices nor lists of file names per class")


def _find_names(path: Path, key: str, name: str, listed: Sequence[str], names: Sequence[str]) -> list[int]:
    """Indices of files given by path below the class folder, by bare name, or by path below the data folder."""
    by_path = {file: index for index, file in enumerate(names)}
    by_bare_name: dict[str, list[int]] = {}
    for index, file in enumerate(names):
        by_bare_name.setdefault(file.rsplit("/", 1)[-1], []).append(index)
    indices = []
    for item in listed:
        exact = by_path.get(item, by_path.get(item.removeprefix(f"{name}/")))
        candidates = [exact] if exact is not None else by_bare_name.get(item, [])
        if not candidates:
            raise DatasetError(f"{path}: {key!r} names {item!r} in the class {name!r}, and there is no such image")
        if len(candidates) > 1:
            places = " and ".join(names[candidate] for candidate in candidates[:2])
            raise DatasetError(f"{path}: {item!r} in the class {name!r} is ambiguous ({places}): give its path")
        indices.append(candidates[0])
    return sorted(indices)


def _check_splits(path: Path, name: str, splits: Mapping[str, Sequence[int]], names: Sequence[str]) -> None:
    for split in ("train", "validation"):
        if not splits.get(split):
            raise DatasetError(
                f"{path} gives the class {name!r} no image for {split}: list some, or move its folder away"
            )
    counts = Counter(index for indices in splits.values() for index in indices)
    repeated = sorted(index for index, count in counts.items() if count > 1)
    if repeated:
        holders = [split for split, indices in splits.items() if repeated[0] in indices]
        where = f"in both {holders[0]} and {holders[1]}" if len(holders) > 1 else f"twice in {holders[0]}"
        raise DatasetError(
            f"{path} lists {names[repeated[0]]!r} of the class {name!r} {where}: an image serves one split, once"
        )
