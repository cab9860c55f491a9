"""The one Python model of `--single`: encoded images in, verdicts out, with protoleak's own engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.settings import FaceSettings
from protoleak.faces.still_images import FacesInImage, find_faces
from protoleak.image_records import Identity, settings_by_face, settings_whole
from protoleak.runtime.prepared import FramedFace, Prepared
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener
from protoleak.serving.triton.decide import lines
from protoleak.serving.triton.settings import ModelSettings


class Screening:
    """A `Screener` for the requests that a server has collected.

    Args:
        bundle: directory or .zip.
        settings: of the model.

    Raises:
        ProtoleakError: the bundle, the engine or alpha is not usable.
    """

    def __init__(self, bundle: Path, settings: ModelSettings) -> None:
        self._screener = Screener(bundle, variant=settings.variant, alpha=settings.alpha, engine=settings.engine)
        self._batch_size = settings.batch_maximum
        self._settings = FaceSettings()
        self._detector = self._screener.detector(self._settings) if self._screener.framing.needs_face else None
        upright = self._screener.upright
        self._identity = Identity(
            bundle=self._screener.bundle_record,
            alpha=self._screener.alpha,
            settings=settings_whole(upright)
            if self._detector is None
            else settings_by_face(self._detector.description, upright, self._settings),
        )
        self._warm_up()

    def close(self) -> None:
        self._screener.close()

    def __call__(self, requests: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
        """For each request one element per image, see `decide.lines`. All of them go through the engines together."""
        read = [
            [self._read(data, f"image {index}") for index, data in enumerate(request)] for request in requests
        ]  # numbered within their request: an answer doesn't depend on who else asks
        framed = [face for request in read for image in request for face in _faces(image)]
        judged = iter(self._screener.each(framed, self._batch_size))
        whole = [image for request in read for image in request if isinstance(image, Prepared)]
        judged_whole = iter(
            outcome
            for first in range(0, len(whole), self._batch_size)
            for outcome in self._screener.judge(whole[first : first + self._batch_size])
        )
        answers: list[list[bytes]] = []
        for request in read:
            answers.append([])
            for image in request:
                outcomes: list[Verdict | ProtoleakError]
                if isinstance(image, MediaError):
                    outcomes = [image]
                elif isinstance(image, Prepared):
                    outcomes = [next(judged_whole)]
                else:
                    outcomes = [image.outcome(place, next(judged)) for place in image.framed]
                answers[-1].append(lines(outcomes, self._identity, by_face=self._detector is not None))
        return answers

    def _read(self, data: bytes, name: str) -> FacesInImage | Prepared | MediaError:
        try:
            if self._detector is None:
                return self._screener.prepare(data, name)
            return find_faces(self._screener, self._detector, data, self._settings, name)
        except MediaError as error:
            return error

    def _warm_up(self) -> None:
        """One black face, so that the first request doesn't wait for what engines put off until they are used."""
        framing = self._screener.framing
        black = np.zeros((len(framing.looks), framing.image_size, framing.image_size, 3), np.uint8)
        for outcome in self._screener.each([FramedFace(black)]):
            if isinstance(outcome, ProtoleakError):
                raise outcome


def _faces(image: FacesInImage | Prepared | MediaError) -> list[FramedFace]:
    return list(image.framed.values()) if isinstance(image, FacesInImage) else []
