"""The first step of the ensemble: encoded images in, the looks at all their faces out, and what is known of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.bundle.bundle import Bundle
from protoleak.errors import MediaError, NoFaceError
from protoleak.faces.base import BoxRecord, Face, FaceDetector
from protoleak.faces.open import open_detector
from protoleak.faces.settings import FaceSettings
from protoleak.faces.still_images import find_faces
from protoleak.images.claims.claim import Claim
from protoleak.images.decode import Decode, decode
from protoleak.images.framing import Framing
from protoleak.images.open import open_image
from protoleak.runtime.prepared import framed_whole, opened_record, pixels_record
from protoleak.runtime.verdict import InputRecord


class PreparedFace(msgspec.Struct, frozen=True):
    """What is known of one row of the looks.

    Attributes:
        judged: the record of what is judged: the pixels of the looks, or the file where the image is judged whole.
        lacking: why it holds too little to judge; None where there is enough.
        box, score: of the detection; None where the image is judged whole.
    """

    judged: InputRecord
    lacking: str | None
    box: BoxRecord | None = None
    score: float | None = None


class PreparedImage(msgspec.Struct, frozen=True):
    """What is known of one image. Either there are faces, or there is a reason for none.

    Attributes:
        name: what messages call it.
        image: its record; None where it could not be read.
        failure: why nothing of it is judged.
        no_face: the failure is that there is no face in it.
        sha256: of its file, where there is a failure and it was read.
        milliseconds: stage → wall time, over its faces.
    """

    name: str
    image: InputRecord | None = None
    notes: list[str] = []
    claims: list[Claim] = []
    faces: list[PreparedFace] = []
    failure: str | None = None
    no_face: bool = False
    sha256: str | None = None
    milliseconds: dict[str, float] = {}


class PreparedRequest(msgspec.Struct, frozen=True):
    """What goes from `prepare` to `decide` beside the looks.

    Attributes:
        images: in their order; their faces behind one another are the rows of the looks.
        detector: that found the faces; None where images are judged whole.
    """

    images: list[PreparedImage]
    detector: str | None


@dataclass
class Opener:
    """How images are opened and faces framed; see `faces.still_images.FaceOpener`."""

    framing: Framing
    decode: Decode


class Preparation:
    """Does for the images of a request what `protoleak screen` does before the graphs run.

    Where the bundle looks at faces, all of an image are framed; else the image is judged whole.

    Args:
        batch_maximum: faces that the graphs take of one request; an image that has more, or with which there are more,
            is not judged.

    Raises:
        ProtoleakError: the bundle looks at faces, and there is no detector.
    """

    def __init__(self, bundle: Bundle, batch_maximum: int) -> None:
        self._opener = Opener(bundle.manifest.preprocessing.framing, decode)
        self._batch_maximum = batch_maximum
        self._settings = FaceSettings()
        self._detector: FaceDetector | None = None
        if self._opener.framing.needs_face:
            self._detector = open_detector(self._settings, bundle)

    def __call__(self, images: Sequence[bytes]) -> tuple[UInt8Array, PreparedRequest]:
        """uint8 [N, L, S, S, 3] of all faces in all images, N ≥ 1, and what is known of them.

        The graphs take no batch of nothing: where there is no face at all, there is one black row that belongs to none.
        """
        rows: list[UInt8Array] = []
        prepared = []
        for index, data in enumerate(images):
            started = time.perf_counter()
            try:
                image, framed = self._prepare(data, f"image {index}", len(rows))
            except MediaError as error:
                image, framed = _failed(f"image {index}", error), []
            spent = 1000 * (time.perf_counter() - started) / max(len(framed), 1)
            prepared.append(msgspec.structs.replace(image, milliseconds={"prepare": spent}))
            rows += framed
        if not rows:
            framing = self._opener.framing
            rows.append(np.zeros((len(framing.looks), framing.image_size, framing.image_size, 3), np.uint8))
        description = None if self._detector is None else self._detector.description
        return np.stack(rows), PreparedRequest(prepared, description)

    def _prepare(self, data: bytes, name: str, taken: int) -> tuple[PreparedImage, list[UInt8Array]]:
        if self._detector is None:
            self._check_room(1, taken)
            return self._prepare_whole(data, name)

        def all_that_fit(faces: Sequence[Face]) -> range:
            self._check_room(len(faces), taken)
            return range(len(faces))

        found = find_faces(self._opener, self._detector, data, self._settings, name, choose=all_that_fit)
        faces = [
            PreparedFace(
                pixels_record(framed.pixels),
                framed.lacking,
                BoxRecord.of(found.faces[place].box),
                found.faces[place].score,
            )
            for place, framed in found.framed.items()
        ]
        image = PreparedImage(name, found.image, list(found.notes), list(found.claims), faces)
        return image, [framed.pixels for framed in found.framed.values()]

    def _prepare_whole(self, data: bytes, name: str) -> tuple[PreparedImage, list[UInt8Array]]:
        opened = open_image(data, name, upright=self._opener.framing.upright, decode=self._opener.decode)
        framed, record = framed_whole(self._opener.framing, opened.pixels), opened_record(opened)
        face = PreparedFace(record, framed.lacking)
        return PreparedImage(name, record, list(opened.notes), list(opened.claims), [face]), [framed.pixels]

    def _check_room(self, faces: int, taken: int) -> None:
        """Raises MediaError where the graphs can't take so many faces beside those of the request's other images."""
        if faces + taken <= self._batch_maximum:
            return
        beside = f" beside {taken} of other images in the request" if taken else ""
        remedy = "send it alone, or write" if taken and faces <= self._batch_maximum else "write"
        raise MediaError(
            f"{faces} faces{beside}, and the graphs take {self._batch_maximum} together: {remedy} the repository with "
            "a larger --batch-maximum"
        )


def _failed(name: str, error: MediaError) -> PreparedImage:
    message = str(error) if str(error).startswith(name) else f"{name}: {error}"
    return PreparedImage(name, failure=message, no_face=isinstance(error, NoFaceError), sha256=error.sha256)
