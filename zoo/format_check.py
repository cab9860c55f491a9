"""Whether anything but the image tells the classes apart: a classifier on what a file's format says.

It sees each file's length, the image's size, the quantisation and Huffman tables, the sampling factors and the order
of the markers, and no pixel. Where formats are alike it can do no better than chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from protoleak.errors import DatasetError

MARKERS = 12  # counted from the start; a baseline JPEG of one scan has eight, and two comments
QUANTISATION, HUFFMAN, COMMENT, START_OF_SCAN = 0xDB, 0xC4, 0xFE, 0xDA
START_OF_FRAME = range(0xC0, 0xC4)
FOLDS = 5
MARGIN = 0.02  # above chance; features that are all alike give chance exactly


class FormatCheck(msgspec.Struct, frozen=True):
    """How well the classes are told apart by format.

    Attributes:
        balanced_accuracy: mean recall over classes, of images that the classifier wasn't fitted on.
        chance: one over the number of classes.
        classes, images: how many.
        distinct_formats: how many different feature vectors there are.
    """

    balanced_accuracy: float
    chance: float
    classes: int
    images: int
    distinct_formats: int

    @property
    def at_chance(self) -> bool:
        return self.balanced_accuracy <= self.chance + MARGIN


def check_format(classes: Mapping[str, Sequence[Path]]) -> FormatCheck:
    """Cross-validated balanced accuracy of a decision tree on format alone.

    Raises:
        DatasetError: a file is no JPEG, or a class has fewer images than there are folds.
    """
    labels = np.concatenate([[index] * len(paths) for index, paths in enumerate(classes.values())])
    few = [name for name, paths in classes.items() if len(paths) < FOLDS]
    if few:
        raise DatasetError(f"fewer than {FOLDS} images of {', '.join(few)}: the format check needs as many per class")
    features = np.array([format_features(path) for paths in classes.values() for path in paths])
    # Balanced weights: otherwise features without information give the largest class, and what differs may go unused.
    tree = DecisionTreeClassifier(class_weight="balanced", random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(tree, features, labels, cv=folds)
    recalls = [np.mean(predicted[labels == index] == index) for index in range(len(classes))]
    return FormatCheck(
        round(float(np.mean(recalls)), 6), 1 / len(classes), len(classes), len(labels), len(np.unique(features, axis=0))
    )


def format_features(path: Path) -> list[float]:
    """What a JPEG file says besides its pixels: as many numbers for every file.

    How much of a file is comment is left out. It says how long the image's own data is, which is content: flat
    images compress better.

    Raises:
        DatasetError: it is no JPEG.
    """
    content = path.read_bytes()
    if content[:2] != b"\xff\xd8":
        raise DatasetError(f"{path} is no JPEG: the zoo's images all are")
    markers: list[int] = []
    tables: dict[int, int] = {QUANTISATION: 0, HUFFMAN: 0}
    frame, metadata, position = [0] * 15, 0, 2
    while position + 4 <= len(content):
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], "big")
        body = content[position + 4 : position + 2 + length]
        markers.append(marker)
        if marker in tables:
            tables[marker] = zlib.crc32(body, tables[marker])
        elif marker in START_OF_FRAME:
            frame = [*body[:15], *frame][:15]  # precision, height, width, components with their sampling and tables
        elif marker not in (COMMENT, START_OF_SCAN):
            metadata = zlib.crc32(body, metadata)
        if marker == START_OF_SCAN:
            break
        position += 2 + length
    padded = (markers + [0] * MARKERS)[:MARKERS]
    return [float(value) for value in (len(content), len(markers), *padded, *frame, *tables.values(), metadata)]
