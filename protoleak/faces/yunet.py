"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector") through OpenCV's `FaceDetectorYN`."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.bundle.graph_check import inspect_onnx, output_names
from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import DETECTION_SIDE, FOUND_SIDE, Face, FaceDetector, reduced
from protoleak.images.framing import Box

# What FaceDetectorYN reads of the network since OpenCV 4.8; it crashes or fails obscurely where one is missing.
OUTPUTS = frozenset(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))
OVERLAP = 0.3  # intersection over union above which two detections are one face; OpenCV's default
CANDIDATES = 5000
MAXIMUM_BYTES = 64 * 2**20  # YuNet has 0.2 MB; a wrong file need not be read to its end
SIZES_KEPT = 3  # networks for images of so many sizes; one takes 25 MB, and as long to make as to find faces once
SCORE_COLUMN = 14  # after the box and five landmarks
REMEDY = "give face_detection_yunet_2023mar.onnx or newer, from OpenCV's model zoo"


def check_yunet(model: bytes, name: str, *, sound: bool = False) -> None:
    """Refuses, before OpenCV sees it, what is no YuNet model.

    Args:
        model: serialised ONNX.
        name: of the file, for messages.
        sound: the graph was inspected before, as that of a bundle is.

    Raises:
        ProtoleakError: one line that says what it is instead.
    """
    try:
        problems = [] if sound else inspect_onnx(model).problems()
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
        checked: bool = False,
    ) -> None:
        """Opens the model and runs it once.

        Args:
            model: serialised ONNX; bundles may be .zip files, so it comes as bytes.
            name: of the file, for messages.
            score: confidence below which a face is left out, in [0, 1].
            minimum_face: shorter side of a box below which it is left out, in pixels of the frame.
            longest_side: larger frames are reduced to it for detection, in pixels.
            checked: it comes from a bundle, whose graphs were inspected when it was loaded. It isn't run here: whether
                OpenCV can run it shows with the first image.

        Raises:
            ProtoleakError: it is no YuNet model, or OpenCV cannot run it.
        """
        check_yunet(model, name, sound=checked)
        self._ran = False
        self._model = np.frombuffer(model, np.uint8)
        self._name = name
        self._score = score
        self._minimum_face = minimum_face
        self._longest_side = longest_side
        self._detectors: OrderedDict[tuple[int, int], cv2.FaceDetectorYN] = OrderedDict()
        self.description = f"YuNet, {name}, SHA-256 {hashlib.sha256(model).hexdigest()[:12]}…"
        if not checked:
            self(np.zeros((longest_side, longest_side, 3), np.uint8))

    def __call__(self, image: UInt8Array) -> list[Face]:
        """Faces in uint8 [H, W, 3] RGB, by falling score.

        Raises:
            ProtoleakError: OpenCV cannot run the model.
            MediaError: OpenCV failed on this frame, after it could find faces in others.
        """
        return self._find(image, self._longest_side)

    def thrifty(self) -> FaceDetector:
        """See `ThriftyDetector`. It shares the networks, so the two are for one thread at a time together."""
        return _Thrifty(self.description, self._find_thriftily)

    def _find_thriftily(self, image: UInt8Array) -> list[Face]:
        needed = math.ceil(max(image.shape[:2]) * FOUND_SIDE / max(1, self._minimum_face))
        return self._find(image, min(self._longest_side, max(FOUND_SIDE, needed)))

    def _find(self, image: UInt8Array, longest_side: int) -> list[Face]:
        small, scale = reduced(image, longest_side)
        height, width = small.shape[:2]
        try:
            _, rows = self._of_size(width, height).detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            kind = MediaError if self._ran else ProtoleakError
            raise kind(
                f"OpenCV {cv2.__version__} cannot run {self._name} on {width}×{height} pixels: "
                f"{' '.join(str(error.err or error).split())}"
            ) from error
        self._ran = True
        found = np.empty((0, SCORE_COLUMN + 1)) if rows is None else rows  # None: no face
        faces = [_face(row, scale) for row in found if np.isfinite(row).all()]
        kept = [face for face in faces if min(face.box.width, face.box.height) >= self._minimum_face]
        return sorted(kept, key=lambda face: face.score, reverse=True)

    def _of_size(self, width: int, height: int) -> cv2.FaceDetectorYN:
        """A network for each size, since some of OpenCV's engines don't let an opened one change its input; those that
        were used last are kept, for cameras of several sizes that share this detector."""
        size = width, height
        if size not in self._detectors:
            nothing = np.empty(0, np.uint8)
            with _quiet():
                self._detectors[size] = cv2.FaceDetectorYN.create(
                    "onnx", self._model, nothing, size, self._score, OVERLAP, CANDIDATES
                )
            if len(self._detectors) > SIZES_KEPT:
                self._detectors.popitem(last=False)
        self._detectors.move_to_end(size)
        return self._detectors[size]


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV 5 warns on standard error, at every network, about a target that nobody asked for."""
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:  # OpenCV 4, which has nothing to say here
        yield
        return
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)
