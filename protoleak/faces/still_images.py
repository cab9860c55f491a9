"""Still images face by face: the same detector, crops and pipeline as for frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from protoleak.errors import EngineError, MediaError, NoFaceError
from protoleak.faces.base import BoxRecord, Face, FaceDetector
from protoleak.faces.crops import frame_each
from protoleak.faces.settings import FaceSettings
from protoleak.images.claims.claim import Claim, disagreement
from protoleak.images.decode import Decode
from protoleak.images.framing import Framing
from protoleak.images.open import open_image
from protoleak.images.sources import ImageSource
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.prepared import FramedFace, opened_record
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
class FacesInImage:
    """The faces of an image, ready for the pipeline; the image itself is let go. Made by `find_faces`.

    Attributes:
        name: what messages call the image.
        source: its path as given; None for one from memory.
        image: the record of the image.
        notes: what was converted on the way to RGB.
        claims: what the file says of its own origin.
        faces: all that were found, by falling confidence.
        framed: place among `faces` → the face as the pipeline takes it, of the faces that are to be judged.
    """

    name: str
    source: str | None
    image: InputRecord
    notes: tuple[str, ...]
    claims: tuple[Claim, ...]
    faces: tuple[Face, ...]
    framed: Mapping[int, FramedFace]

    def outcome(
        self, place: int, outcome: Verdict | MediaError | EngineError
    ) -> FaceVerdict | MediaError | EngineError:
        """What is said of a face of this image.

        Args:
            place: of the face among `faces`.
            outcome: what the pipeline says of the framed face.
        """
        face = self.faces[place]
        box = face.box
        if not isinstance(outcome, Verdict):
            message = f"{self.name}, face at {box.left:.0f},{box.top:.0f}: {outcome}"
            return type(outcome)(message).about(self.source, self.image.sha256)
        fields = {name: getattr(outcome, name) for name in outcome.__struct_fields__}
        fields |= {
            "source": self.source,
            "notes": [*self.notes, *outcome.notes],
            "claims": list(self.claims),
            "disagreement": disagreement(outcome.label, self.claims),
            "image": self.image,
            "box": BoxRecord.of(box),
            "face_score": face.score,
        }
        return FaceVerdict(**fields)


class FaceOpener(Protocol):
    """What finding faces needs to know of a pipeline."""

    @property
    def framing(self) -> Framing:
        """How the bundle looks at a face."""
        ...

    @property
    def decode(self) -> Decode:
        """Who decodes what is encoded."""
        ...


def find_faces(
    pipeline: FaceOpener,
    detector: FaceDetector,
    image: ImageSource,
    settings: FaceSettings,
    name: str = "image",
    *,
    choose: Callable[[Sequence[Face]], Iterable[int]] | None = None,
) -> FacesInImage:
    """Decodes an image, finds its faces and frames them.

    Args:
        settings: margin, for a bundle that knows no faces; the limits, for what is said where no face was found.
        name: what messages call an image that is not a file.
        choose: the places among the faces of those to be judged; None for all. What it raises is passed on.

    Raises:
        MediaError: the image cannot be read, or there is no face in it.
    """
    opened = open_image(image, name, upright=pipeline.framing.upright, decode=pipeline.decode)
    faces = detector(opened.pixels)
    if not faces:
        notes = f"; {'; '.join(opened.notes)}" if opened.notes else ""
        limits = f"of {settings.minimum_face} pixels or more (--minimum-face, --face-score)"
        none = NoFaceError(f"{opened.name}: no face {limits} was found{notes}")
        raise none.about(opened.source, opened.sha256)
    chosen = [*(range(len(faces)) if choose is None else choose(faces))]
    boxes = [faces[place].box for place in chosen]
    framed = dict(zip(chosen, frame_each(pipeline.framing, opened.pixels, boxes, settings.margin), strict=True))
    return FacesInImage(
        opened.name, opened.source, opened_record(opened), opened.notes, opened.claims, tuple(faces), framed
    )


def screen_faces(
    pipeline: ImagePipeline,
    detector: FaceDetector,
    images: Iterable[ImageSource | FacesInImage | MediaError],
    settings: FaceSettings,
    batch_size: int,
) -> Iterator[list[FaceVerdict | MediaError | EngineError]]:
    """Per image, in order, the outcomes of its faces by falling confidence; one MediaError where there is no face.

    Args:
        images: as in `ImagePipeline.each`, or with their faces found already; an error in its place is passed on.
        settings: see `find_faces`.
        batch_size: faces that go through the engines together; they may be of several images.
    """
    pending: list[FacesInImage | MediaError] = []
    faces = 0
    for index, image in enumerate(images):
        try:
            found = (
                image
                if isinstance(image, MediaError | FacesInImage)
                else find_faces(pipeline, detector, image, settings, f"image {index}")
            )
        except MediaError as error:
            found = error
        pending.append(found)
        faces += len(found.framed) if isinstance(found, FacesInImage) else 0
        if faces >= batch_size or isinstance(found, MediaError):
            yield from _judged(pipeline, pending, batch_size)
            pending, faces = [], 0
    yield from _judged(pipeline, pending, batch_size)


def _judged(
    pipeline: ImagePipeline, pending: Sequence[FacesInImage | MediaError], batch_size: int
) -> Iterator[list[FaceVerdict | MediaError | EngineError]]:
    framed = [face for found in pending if isinstance(found, FacesInImage) for face in found.framed.values()]
    outcomes = iter(pipeline.each(framed, batch_size))
    for found in pending:
        if isinstance(found, MediaError):
            yield [found]
        else:
            yield [found.outcome(place, next(outcomes)) for place in found.framed]
