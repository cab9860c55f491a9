"""The last step of the ensemble: the graphs' outputs and what is known of the images in, verdicts out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.bundle import Bundle
from protoleak.errors import EngineError, MediaError, NoFaceError, ProtoleakError
from protoleak.faces.base import Face
from protoleak.faces.settings import FaceSettings
from protoleak.faces.still_images import FacesInImage
from protoleak.image_records import Identity, records_of, settings_by_face, settings_whole
from protoleak.images.framing import Box
from protoleak.runtime.engines import EngineDescription, check_finite
from protoleak.runtime.engines.base import TOGETHER
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS
from protoleak.runtime.judge import Judge, JudgedInput
from protoleak.runtime.verdict import Verdict
from protoleak.serving.triton.graphs import LOG_DENSITY
from protoleak.serving.triton.prepare import PreparedFace, PreparedImage, PreparedRequest
from protoleak.serving.triton.settings import ModelSettings
from protoleak.version import __version__

SERVER_VERSION = "TRITON_SERVER_VERSION"  # set in the server's containers


def lines(outcomes: Sequence[Verdict | ProtoleakError], identity: Identity, *, by_face: bool) -> bytes:
    """What is said of one image: JSON Lines as `protoleak screen --out` writes them, one for each face."""
    records = records_of(None, outcomes, by_face=by_face)
    return b"\n".join(msgspec.json.encode(record.to_dict(identity)) for record in records)


class Decisions:
    """Does for the images of a request what `protoleak screen` does after the graphs have run.

    Args:
        settings: of the model.

    Raises:
        ProtoleakError: the variant or alpha is not to be had.
    """

    def __init__(self, bundle: Bundle, settings: ModelSettings) -> None:
        self._judge = Judge(bundle, bundle.variant(settings.variant), alpha=settings.alpha)
        self._upright = bundle.manifest.preprocessing.upright
        self._engine = EngineDescription(
            settings.engine,
            "NVIDIA Triton Inference Server",
            {
                "numpy": np.__version__,
                "protoleak": __version__,
                "triton": os.environ.get(SERVER_VERSION, "not said by the server"),
            },
            {"batch": TOGETHER, "noising": "in the attributor's graph"},
        )

    def __call__(self, prepared: PreparedRequest, outputs: Mapping[str, Array]) -> list[bytes]:
        """One element per image, see `lines`.

        Args:
            outputs: of the attributor as served, by name; the first axis is the faces of all images.
        """
        by_face = prepared.detector is not None
        settings = (
            settings_whole(self._upright)
            if prepared.detector is None
            else settings_by_face(prepared.detector, self._upright, FaceSettings())
        )
        identity = Identity(bundle=self._judge.bundle_record, alpha=self._judge.alpha, settings=settings)
        found, row = [], 0
        for image in prepared.images:
            rows = [
                {name: outputs[name][row + place] for name in ATTRIBUTOR_OUTPUTS} for place in range(len(image.faces))
            ]
            row += len(rows)
            found.append(lines(self._outcomes(image, rows), identity, by_face=by_face))
        return found

    def _outcomes(self, image: PreparedImage, rows: Sequence[Mapping[str, Array]]) -> list[Verdict | ProtoleakError]:
        if image.failure is not None or image.image is None:
            kind = NoFaceError if image.no_face else MediaError
            return [kind(image.failure or f"{image.name}: not read").about(None, image.sha256)]
        opened = FacesInImage(
            image.name, None, image.image, tuple(image.notes), tuple(image.claims), _detections(image.faces), {}
        )
        outcomes: list[Verdict | ProtoleakError] = []
        for place, (face, outputs) in enumerate(zip(image.faces, rows, strict=True)):
            if face.box is None:
                judged = JudgedInput(None, face.judged, opened.notes, face.lacking, opened.claims)
                outcome = self._outcome(judged, outputs, image.milliseconds)
                if isinstance(outcome, EngineError):
                    outcome = EngineError(f"{image.name}: {outcome}").about(None, image.image.sha256)
                outcomes.append(outcome)
            else:
                judged = JudgedInput(None, face.judged, lacking=face.lacking)
                outcomes.append(opened.outcome(place, self._outcome(judged, outputs, image.milliseconds)))
        return outcomes

    def _outcome(
        self, judged: JudgedInput, outputs: Mapping[str, Array], milliseconds: Mapping[str, float]
    ) -> Verdict | EngineError:
        single = {**outputs, LOG_DENSITY: outputs[LOG_DENSITY].reshape(())}
        try:
            check_finite("attributor", single)
        except EngineError as error:
            return error
        return self._judge.verdict(judged, single, self._engine, milliseconds)


def _detections(faces: Sequence[PreparedFace]) -> tuple[Face, ...]:
    return tuple(
        Face(Box(face.box.left, face.box.top, face.box.width, face.box.height), face.score or 0.0)
        for face in faces
        if face.box is not None
    )
