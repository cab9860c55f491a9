"""Still images face by face: the same detector, crops and pipeline as for frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from protoleak.errors import EngineError, MediaError, NoFaceError
from protoleak.faces.base import BoxRecord, Face, FaceDetector
from protoleak.faces.crops import frame_face
from protoleak.faces.settings import FaceSettings
from protoleak.images.claims.claim import disagreement
from protoleak.images.decode import OpenedImage, open_image
from protoleak.images.sources import ImageSource
from protoleak.runtime.pipeline import FramedFace, ImagePipeline
from protoleak.runtime.verdict import InputRecord, Verdict


class FaceVerdict(Verdict, frozen=True, kw_only=True):
    """The verdict on one face in an image; its `input` is the pixels of the face's looks.

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
    framed: list[FramedFace]
    error: MediaError | None = None


def screen_faces(
    pipeline: ImagePipeline,
    detector: FaceDetector,
    images: Iterable[ImageSource | MediaError],
    settings: FaceSettings,
    batch_size: int,
) -> Iterator[list[FaceVerdict | MediaError | EngineError]]:
    """Per image, in order, the outcomes of its faces by falling confidence; one MediaError where there is no face.

    Args:
        images: as in `ImagePipeline.each`; an error in its place is passed on.
        settings: margin, for a bundle that knows no faces; the limits, for what is said where no face was found.
        batch_size: faces that go through the engines together; they may be of several images.
    """
    pending: list[_Found] = []
    for index, image in enumerate(images):
        pending.append(_find(pipeline, detector, image, settings, f"image {index}"))
        if sum(len(found.framed) for found in pending) >= batch_size or pending[-1].error is not None:
            yield from _judged(pipeline, pending, batch_size)
            pending = []
    yield from _judged(pipeline, pending, batch_size)


def _find(
    pipeline: ImagePipeline, detector: FaceDetector, image: ImageSource | MediaError, settings: FaceSettings, name: str
) -> _Found:
    if isinstance(image, MediaError):
        return _Found(None, [], [], image)
    try:
        opened = open_image(image, name, upright=pipeline.framing.upright, decode=pipeline.decode)
        pixels = np.asarray(opened.image)
        faces = detector(pixels)
    except MediaError as error:
        return _Found(None, [], [], error)
    if not faces:
        notes = f"; {'; '.join(opened.notes)}" if opened.notes else ""
        limits = f"of {settings.minimum_face} pixels or more (--minimum-face, --face-score)"
        none = NoFaceError(f"{opened.name}: no face {limits} was found{notes}")
        return _Found(None, [], [], none.about(opened.source, opened.sha256))
    framed = [frame_face(pipeline.framing, pixels, face.box, settings.margin) for face in faces]
    return _Found(opened, faces, framed)


def _judged(
    pipeline: ImagePipeline, pending: Sequence[_Found], batch_size: int
) -> Iterator[list[FaceVerdict | MediaError | EngineError]]:
    framed = [face for found in pending for face in found.framed]
    outcomes = iter(pipeline.each(framed, batch_size))
    for found in pending:
        if found.error is not None:
            yield [found.error]
        elif found.opened is not None:
            yield [_of_face(found.opened, face, next(outcomes)) for face in found.faces]


def _of_face(
    opened: OpenedImage, face: Face, outcome: Verdict | MediaError | EngineError
) -> FaceVerdict | MediaError | EngineError:
    box = face.box
    if not isinstance(outcome, Verdict):
        message = f"{opened.name}, face at {box.left:.0f},{box.top:.0f}: {outcome}"
        return type(outcome)(message).about(opened.source, opened.sha256)
    width, height = opened.image.size
    fields = {name: getattr(outcome, name) for name in outcome.__struct_fields__}
    fields |= {
        "source": opened.source,
        "notes": [*opened.notes, *outcome.notes],
        "claims": list(opened.claims),
        "disagreement": disagreement(outcome.label, opened.claims),
        "image": InputRecord(opened.sha256, opened.hashed, opened.size, width, height),
        "box": BoxRecord.of(box),
        "face_score": face.score,
    }
    return FaceVerdict(**fields)
