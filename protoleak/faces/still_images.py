"""Still images face by face: the same detector, crops and screener as for frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.errors import EngineError, MediaError
from protoleak.faces.base import Face, FaceDetector
from protoleak.faces.crops import face_crop
from protoleak.images.decode import ImageSource, OpenedImage, open_image
from protoleak.images.preprocess import preprocess
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.verdict import InputRecord, Verdict
from protoleak.video.events import BoxRecord
from protoleak.video.settings import StreamSettings


class FaceVerdict(Verdict, frozen=True, kw_only=True):
    """The answer for one face in an image; its `input` is the crop's pixels.

    Attributes:
        image: the image that the face is in.
        box: the face in it, without margin.
        face_score: the detector's confidence.
    """

    image: InputRecord
    box: BoxRecord
    face_score: float


@dataclass(frozen=True)
class _Found:
    """An image's faces, or why there are none; the image itself is let go."""

    opened: OpenedImage | None
    faces: list[Face]
    crops: list[UInt8Array]
    error: MediaError | None = None


def screen_faces(
    screener: ImagePipeline,
    detector: FaceDetector,
    images: Iterable[ImageSource | MediaError],
    settings: StreamSettings,
    batch_size: int,
) -> Iterator[list[FaceVerdict | MediaError | EngineError]]:
    """Per image, in order, the outcomes of its faces by falling confidence; one MediaError where there is no face.

    Args:
        images: as in `ImagePipeline.each`; an error in its place is handed on.
        settings: margin; the limits, for what is said where no face was found.
        batch_size: faces that go through the engines together; they may be of several images.
    """
    waiting: list[_Found] = []
    for index, image in enumerate(images):
        waiting.append(_find(screener, detector, image, settings, f"image {index}"))
        if sum(len(found.crops) for found in waiting) >= batch_size or waiting[-1].error is not None:
            yield from _judged(screener, waiting, batch_size)
            waiting = []
    yield from _judged(screener, waiting, batch_size)


def _find(
    screener: ImagePipeline,
    detector: FaceDetector,
    image: ImageSource | MediaError,
    settings: StreamSettings,
    name: str,
) -> _Found:
    if isinstance(image, MediaError):
        return _Found(None, [], [], image)
    try:
        opened = open_image(image, name)
        pixels = np.asarray(opened.image)
        faces = detector(pixels)
    except MediaError as error:
        return _Found(None, [], [], error)
    if not faces:
        notes = f"; {'; '.join(opened.notes)}" if opened.notes else ""
        limits = f"of {settings.minimum_face} pixels or more (--minimum-face, --face-score)"
        return _Found(None, [], [], MediaError(f"{opened.name}: no face {limits} was found{notes}"))
    size = screener.bundle.manifest.preprocessing.image_size
    crops = [preprocess(Image.fromarray(face_crop(pixels, face.box, settings.margin)), size) for face in faces]
    return _Found(opened, faces, crops)


def _judged(
    screener: ImagePipeline, waiting: Sequence[_Found], batch_size: int
) -> Iterator[list[FaceVerdict | MediaError | EngineError]]:
    crops = [crop for found in waiting for crop in found.crops]
    outcomes = iter(screener.each(crops, batch_size))
    for found in waiting:
        if found.error is not None:
            yield [found.error]
        elif found.opened is not None:
            yield [_of_face(found.opened, face, next(outcomes)) for face in found.faces]


def _of_face(
    opened: OpenedImage, face: Face, outcome: Verdict | MediaError | EngineError
) -> FaceVerdict | MediaError | EngineError:
    box = face.box
    if not isinstance(outcome, Verdict):
        return type(outcome)(f"{opened.name}, face at {box.left:.0f},{box.top:.0f}: {outcome}")
    width, height = opened.image.size
    fields = {name: getattr(outcome, name) for name in outcome.__struct_fields__}
    fields |= {
        "source": opened.source,
        "notes": [*opened.notes, *outcome.notes],
        "image": InputRecord(opened.sha256, opened.hashed, opened.size, width, height),
        "box": BoxRecord(box.left, box.top, box.width, box.height),
        "face_score": face.score,
    }
    return FaceVerdict(**fields)
