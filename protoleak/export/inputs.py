"""Everything that an export reads, listed and checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protoleak.calibration.conformal_fit import LeftOutMargins
from protoleak.dataset import Dataset
from protoleak.errors import ProtoleakError
from protoleak.export.calibrate import EvaluationImages
from protoleak.export.images import (
    ImageSet,
    auxiliary_generators,
    folder_of_images,
    in_order_of,
    split,
    unknown_generators,
)
from protoleak.export.precisions.build import check_variants
from protoleak.export.settings import ExportSettings
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.faces.yunet import YuNetDetector, read_yunet
from protoleak.model.checkpoint import TrainedModel
from protoleak.runtime import conformal


@dataclass(frozen=True)
class ExportInputs:
    """Everything that an export reads, listed and checked before any work.

    Attributes:
        train: what head and density are fitted to.
        auxiliary: what the density is contrasted with, or None.
        evaluation: what every variant is run on.
        face_detector: an ONNX model that goes into the bundle, or None.
        framer: of the model's framing, with that detector.
        left_out: what the decision's margins are taken from; None for the calibration images themselves.
    """

    train: ImageSet
    auxiliary: ImageSet | None
    evaluation: EvaluationImages
    face_detector: bytes | None
    framer: Framer
    left_out: LeftOutMargins | None


def read_inputs(model: TrainedModel, dataset: Dataset, settings: ExportSettings) -> ExportInputs:
    """Lists and checks everything, so that a mistyped folder, a broken file or an impossible α costs no time."""
    dataset = in_order_of(model.config.generators, dataset)
    conformal.check_alpha(settings.alpha)
    conformal.check_enough(len(dataset.calibration), settings.alpha)
    unknown = () if settings.unknown is None else tuple(unknown_generators(settings.unknown))
    auxiliary = None if settings.auxiliary is None else auxiliary_generators(settings.auxiliary, dataset)
    real_faces = None if settings.photographs is None else folder_of_images("real faces", settings.photographs)
    face_detector = None if settings.face_detector is None else _face_detector(settings.face_detector)
    framing = model.config.framing
    if framing.needs_face and face_detector is None:
        raise ProtoleakError(
            f"the model looks at faces ({', '.join(framing.looks)}): give --face-detector FILE, a YuNet model; it goes "
            "into the bundle, so that faces are found where that is used as they are here"
        )
    train, validation, calibration, test = (
        split(dataset, name) for name in ("train", "validation", "calibration", "test")
    )
    check_variants(settings.variants, calibration, test)
    return ExportInputs(
        train,
        auxiliary,
        EvaluationImages(validation, calibration, test, unknown, real_faces),
        face_detector,
        Framer(framing, LargestFace(settings.face_detector) if settings.face_detector and framing.needs_face else None),
        None if settings.left_out is None else LeftOutMargins.read(settings.left_out),
    )


def _face_detector(file: Path) -> bytes:
    """A YuNet model that was read, checked and run once: it fails here rather than at the bundle's user."""
    model = read_yunet(file, "--face-detector")
    YuNetDetector(model, f"--face-detector {file}", score=0.5, minimum_face=1)
    return model
