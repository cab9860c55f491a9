"""Exact copies of an image where they would spoil what is learnt: in two splits, or in two classes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from protoleak.dataset import SPLIT_KEYS, Dataset
from protoleak.errors import DatasetError

ELSEWHERE = "images of no class"


def refuse_copies(dataset: Dataset, others: Mapping[str, Sequence[Path]] | None = None) -> None:
    """Checks that no image serves two splits or two classes: such a network learns by heart what it is tested on, or is
    told two things of one image. Copies within a class and split only weigh double, and stay.

    Args:
        others: images that are learnt from and belong to no class, by the name of their folder.

    Raises:
        DatasetError: how many there are, and the first two names.
    """
    copies = find_copies(_places(dataset, others or {}))
    if copies:
        known, path = copies[0]
        count = "1 image is a copy" if len(copies) == 1 else f"{len(copies)} images are copies"
        raise DatasetError(
            f"{count} of one in another split or class of {dataset.folder}, the first {_name(path, dataset)} of "
            f"{_name(known, dataset)}: take one of the two out (and out of Split.json)"
        )


def find_copies(placed: Iterable[tuple[Path, Hashable]]) -> list[tuple[Path, Path]]:
    """Files with the very bytes of one before them in another place: the first such file, and the copy.

    Files of equal size are read; those of a size of their own cannot have a copy.

    Args:
        placed: each file and what counts as its place.
    """
    by_size: defaultdict[int, list[tuple[Path, Hashable]]] = defaultdict(list)
    for path, place in placed:
        by_size[_size(path)].append((path, place))
    copies: list[tuple[Path, Path]] = []
    for size, files in by_size.items():
        if size <= 0 or len({place for _, place in files}) < 2:
            continue
        first: dict[bytes, tuple[Path, Hashable]] = {}
        for path, place in files:
            known, known_place = first.setdefault(_sha256(path), (path, place))
            if known_place != place:
                copies.append((known, path))
    return copies


def _places(dataset: Dataset, others: Mapping[str, Sequence[Path]]) -> Iterator[tuple[Path, tuple[str, str]]]:
    for split in SPLIT_KEYS:
        for sample in getattr(dataset, split):
            yield sample.path, (split, dataset.generators[sample.label])
    for name, paths in others.items():
        for path in paths:
            yield path, (ELSEWHERE, name)


def _name(path: Path, dataset: Dataset) -> str:
    return path.relative_to(dataset.folder).as_posix() if path.is_relative_to(dataset.folder) else str(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # whoever decodes it will say so


def _sha256(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return str(path).encode()
