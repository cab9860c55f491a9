"""What runs YuNet's network on an image: ONNX Runtime, or OpenCV where the model's input has a fixed size.

ONNX Runtime takes half the time that OpenCV 5 does, with boxes that differ by less than 0.001 pixels. It holds a model
to the size that its file states, which OpenCV changes at will: models before 2025 state 640×640.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Protocol

import cv2
import numpy as np

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.bundle.graph_check import input_shape
from protoleak.errors import MediaError, first_line
from protoleak.runtime.engines.onnxruntime import ERRORS_ONLY, ONNX_ALONE, PROVIDER, import_onnxruntime

STRIDES = (8, 16, 32)  # pixels from one place that the network gives scores for to the next
OVERLAP = 0.3  # intersection over union above which two detections are one face; OpenCV's default
CANDIDATES = 5000
SIZES_KEPT = 3  # of OpenCV's networks; one takes 25 MB, and as long to make as to find faces once
SCORE_COLUMN = 14  # after the box and five landmarks
Rows = (
    Float32Array  # [n, 15]: left, top, width and height, x and y of five landmarks, score; as FaceDetectorYN has them
)


class YuNetNetwork(Protocol):
    """For one thread at a time."""

    def __call__(self, image: UInt8Array) -> Rows:
        """The faces in uint8 [H, W, 3] RGB, in no order.

        Raises:
            MediaError: it failed on this image.
        """
        ...


def open_network(model: bytes, name: str, score: float) -> YuNetNetwork:
    """Opens a model that `yunet.check_yunet` has seen.

    Args:
        name: of the file, for messages.
        score: confidence below which a face is left out, in [0, 1].

    Raises:
        MediaError: ONNX Runtime refuses it.
        EngineUnavailable: ONNX Runtime is not installed.
    """
    shape = input_shape(model)
    if shape is not None and len(shape) == 4 and shape[2] is None and shape[3] is None:
        return OnnxRuntimeNetwork(model, name, score)
    return OpenCvNetwork(model, name, score)


class OnnxRuntimeNetwork:
    """Of a model that takes images of any size. One thread runs it: verdicts are made beside it."""

    def __init__(self, model: bytes, name: str, score: float) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = 1
        options.add_session_config_entry(*ONNX_ALONE)
        self._by = f"ONNX Runtime {onnxruntime.__version__}"
        self._name, self._score = name, score
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=[PROVIDER])
        except Exception as error:  # its exception classes are private to the compiled module
            raise MediaError(f"{self._by} cannot load {name}: {first_line(error)}") from error
        self._input = self._session.get_inputs()[0].name
        self._given: Float32Array = np.empty((1, 3, 0, 0), np.float32)
        self._shape = 0, 0  # of the image that was given last; around it there are zeros
        self._outputs = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]

    def __call__(self, image: UInt8Array) -> Rows:
        height, width = image.shape[:2]
        pixels = self._pixels(image)
        try:
            given = self._session.run(self._outputs, {self._input: pixels})
        except Exception as error:  # see __init__
            raise MediaError(
                f"{self._by} cannot run {self._name} on {width}×{height} pixels: {first_line(error)}"
            ) from error
        maps = dict(zip(self._outputs, given, strict=True))
        rows: Rows = np.concatenate([self._decoded(maps, stride, pixels.shape[3] // stride) for stride in STRIDES])
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(rows) < 2:
            return rows
        boxes = rows[:, :4].astype(np.int32)  # as FaceDetectorYN compares them
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, SCORE_COLUMN].tolist(), self._score, OVERLAP, top_k=CANDIDATES)
        chosen: Rows = rows[np.asarray(kept, np.intp).reshape(-1)]
        return chosen

    def _pixels(self, image: UInt8Array) -> Float32Array:
        """The image as the network takes it: float32 [1, 3, h, w] BGR, both sides whole multiples of 32."""
        height, width = image.shape[:2]
        if (height, width) != self._shape:
            coarsest = STRIDES[-1]
            padded = -(-height // coarsest) * coarsest, -(-width // coarsest) * coarsest
            self._given, self._shape = np.zeros((1, 3, *padded), np.float32), (height, width)
        for channel, plane in enumerate(cv2.split(image)):
            self._given[0, 2 - channel, :height, :width] = plane
        return self._given

    def _decoded(self, maps: dict[str, Float32Array], stride: int, columns: int) -> Rows:
        """The faces around the places of one stride, as `FaceDetectorYN` decodes them; `columns` places in a row."""
        certain, there = (np.clip(maps[f"{kind}_{stride}"].reshape(-1), 0, 1) for kind in ("cls", "obj"))
        scores = np.sqrt(certain * there)
        places = np.flatnonzero(scores >= self._score)
        corner = np.stack([places % columns, places // columns], axis=1).astype(np.float32)
        boxes = maps[f"bbox_{stride}"].reshape(-1, 4)[places]
        points = maps[f"kps_{stride}"].reshape(-1, 5, 2)[places]
        size = np.exp(boxes[:, 2:]) * stride
        first = (corner + boxes[:, :2]) * stride - size / 2
        landmarks = ((points + corner[:, None]) * stride).reshape(-1, 10)
        return np.concatenate([first, size, landmarks, scores[places, None]], axis=1, dtype=np.float32)


class OpenCvNetwork:
    """Of any model that `FaceDetectorYN` reads: a network for each size of images, since some of OpenCV's engines don't
    let an opened one change its input; those that were used last are kept, for cameras of several sizes."""

    def __init__(self, model: bytes, name: str, score: float) -> None:
        self._model, self._name, self._score = np.frombuffer(model, np.uint8), name, score
        self._detectors: OrderedDict[tuple[int, int], cv2.FaceDetectorYN] = OrderedDict()

    def __call__(self, image: UInt8Array) -> Rows:
        height, width = image.shape[:2]
        try:
            _, rows = self._of_size(width, height).detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise MediaError(
                f"OpenCV {cv2.__version__} cannot run {self._name} on {width}×{height} pixels: "
                f"{' '.join(str(error.err or error).split())}"
            ) from error
        found = np.empty((0, SCORE_COLUMN + 1), np.float32) if rows is None else rows  # None: no face
        return found.astype(np.float32, copy=False)

    def _of_size(self, width: int, height: int) -> cv2.FaceDetectorYN:
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
