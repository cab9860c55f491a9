"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector"), as OpenCV's model zoo has it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.bundle.graph_check import inspect_onnx, output_names
from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import DETECTION_SIDE, Face, FaceDetector, reduced
from protoleak.faces.yunet_network import SCORE_COLUMN, YuNetNetwork, open_network
from protoleak.images.framing import Box

# What is read of the network; FaceDetectorYN crashes or fails obscurely where one is missing.
OUTPUTS = frozenset(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))
MAXIMUM_BYTES = 64 * 2**20  # YuNet has 0.2 MB; a wrong file need not be read to its end
REMEDY = "give face_detection_yunet_2023mar.onnx or newer, from OpenCV's model zoo"


def check_yunet(model: bytes, name: str, *, checked: bool = False) -> None:
    """Refuses, before OpenCV sees it, what is no YuNet model.

    Args:
        model: serialised ONNX.
        name: of the file, for messages.
        checked: the graph was inspected before, as that of a bundle is.

    Raises:
        ProtoleakError: one line that says what it is instead.
    """
    try:
        problems = [] if checked else inspect_onnx(model).problems()
        outputs = set(output_names(model))
    except ValueError as error:
        raise ProtoleakError(f"{name} is no YuNet model: {error}: {REMEDY}") from error
    if missing := sorted(OUTPUTS - outputs):
        raise ProtoleakError(f"{name} is no YuNet model: it lacks the output {missing[0]!r}: {REMEDY}")
    if problems:
        raise ProtoleakError(f"{name}: {'; '.join(problems)}: nothing was executed; {REMEDY}")


def read_yunet(file: Path, option: str) -> bytes:
    """The content of a model file that somebody named.

    Args:
        option: that it was named with, for messages.

    Raises:
        ProtoleakError: it cannot be read, or is no YuNet model.
    """
    try:
        if not file.is_file():
            raise ProtoleakError(f"{option} {file}: there is no file at that path")
        if (size := file.stat().st_size) > MAXIMUM_BYTES:
            raise ProtoleakError(f"{option} {file} is no YuNet model: {size} bytes are too many for one: {REMEDY}")
        model = file.read_bytes()
    except OSError as error:
        raise ProtoleakError(f"{option} {file} cannot be read: {error.strerror or error}") from error
    check_yunet(model, f"{option} {file}")
    return model


class YuNetDetector:
    """Faces with confidence, from about 10 pixels up in the image that the network sees.

    Attributes:
        description: for people.
    """

    def __init__(
        self,
        model: bytes,
        name: str,
        *,
        score: float,
        minimum_face: int,
        longest_side: int = DETECTION_SIDE,
        opening: Callable[[bytes, str, float], YuNetNetwork] = open_network,
        checked: bool = False,
    ) -> None:
        """Opens the model and runs it once.

        Args:
            model: serialised ONNX; bundles may be .zip files, so it comes as bytes.
            name: of the file, for messages.
            score: confidence below which a face is left out, in [0, 1].
            minimum_face: shorter side of a box below which it is left out, in pixels of the frame.
            longest_side: larger frames are reduced to it for detection, in pixels.
            opening: the network of a model, by its name and the score.
            checked: it comes from a bundle, whose graphs were inspected when it was loaded. It is opened and not run:
                whether it can be run shows with the first image.

        Raises:
            ProtoleakError: it is no YuNet model, or cannot be run.
        """
        check_yunet(model, name, checked=checked)
        self._ran = False
        self._minimum_face = minimum_face
        self._longest_side = longest_side
        self.description = f"YuNet, {name}, SHA-256 {hashlib.sha256(model).hexdigest()[:12]}…"
        try:
            self._network = opening(model, name, score)
        except MediaError as error:
            raise ProtoleakError(str(error)) from error
        if not checked:
            self(np.zeros((longest_side, longest_side, 3), np.uint8))

    def __call__(self, image: UInt8Array) -> list[Face]:
        """Faces in uint8 [H, W, 3] RGB, by falling score.

        Raises:
            ProtoleakError: the network cannot be run.
            MediaError: it failed on this frame, after it could find faces in others.
        """
        return self._find(image, self._longest_side)

    def thrifty(self, side: int) -> FaceDetector:
        """See `ThriftyDetector`. It shares the network, so the two are for one thread at a time together."""
        return _Thrifty(self.description, partial(self._find_thriftily, side=side))

    def _find_thriftily(self, image: UInt8Array, side: int) -> list[Face]:
        needed = math.ceil(max(image.shape[:2]) * side / max(1, self._minimum_face))
        return self._find(image, min(self._longest_side, max(side, needed)))

    def _find(self, image: UInt8Array, longest_side: int) -> list[Face]:
        small, scale = reduced(image, longest_side)
        try:
            rows = self._network(small)
        except MediaError as error:
            if self._ran:
                raise
            raise ProtoleakError(str(error)) from error
        self._ran = True
        faces = [_face(row, scale) for row in rows if np.isfinite(row).all()]
        kept = [face for face in faces if min(face.box.width, face.box.height) >= self._minimum_face]
        return sorted(kept, key=lambda face: face.score, reverse=True)


@dataclass
class _Thrifty:
    description: str
    find: Callable[[UInt8Array], list[Face]]

    def __call__(self, image: UInt8Array) -> list[Face]:
        return self.find(image)


def _face(row: np.ndarray[tuple[int], np.dtype[np.float32]], scale: float) -> Face:
    left, top, width, height = (float(value) / scale for value in row[:4])
    points = row[4:SCORE_COLUMN].reshape(-1, 2).astype(np.float64) / scale
    landmarks = tuple((float(x), float(y)) for x, y in points)
    return Face(Box(left, top, width, height), min(1.0, float(row[SCORE_COLUMN])), landmarks)
