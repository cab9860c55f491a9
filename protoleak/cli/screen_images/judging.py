"""How the images of a run are judged: whole, or face by face."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from protoleak.cli.console import print_note
from protoleak.cli.screen_options import ScreenOptions
from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import BoxRecord
from protoleak.faces.still_images import FaceVerdict
from protoleak.image_records import Record, Settings, settings_by_face, settings_whole
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.prepared import FramedFace
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Judging:
    """How images are judged: whole, or face by face.

    Attributes:
        outcomes: of each image in turn: one for the whole, or one per face.
        settings: of the faces, for the record.
    """

    outcomes: Callable[[Sequence[str | MediaError]], Iterator[Sequence[Verdict | ProtoleakError]]]
    settings: Settings
    by_face: bool


def choose_judging(options: ScreenOptions, screener: ImagePipeline, errors: Console) -> Judging:
    """As the options say, else as the bundle was trained; `errors` is told by whom faces are found.

    Raises:
        ProtoleakError: there is no such face detector here.
    """
    batch_size = options.batch_size
    finder = options.finder or (screener.looks_at if isinstance(screener, Screener) else "none")
    if finder == "none" or not isinstance(screener, Screener):
        return Judging(
            lambda images: ([outcome] for outcome in screener.each(images, batch_size)),
            settings_whole(screener.upright),
            False,
        )
    settings = replace(options.faces, faces=finder)
    detector = screener.detector(settings)
    print_note(errors, f"faces are found by {detector.description}")
    recorded = settings_by_face(detector.description, screener.upright, settings)
    return Judging(
        lambda images: screener.each_face(images, settings, detector=detector, batch_size=batch_size),
        recorded,
        True,
    )


def example_record(screener: ImagePipeline, judging: Judging) -> Record:
    """The record of a black image: it has every field that those of this run have."""
    framing = screener.framing
    black = FramedFace(np.zeros((len(framing.looks), framing.image_size, framing.image_size, 3), np.uint8))
    (verdict,) = screener.each([black])
    if not isinstance(verdict, Verdict):
        raise verdict
    if judging.by_face:
        fields = {name: getattr(verdict, name) for name in verdict.__struct_fields__}
        verdict = FaceVerdict(**fields, image=verdict.input, box=BoxRecord(0, 0, 1, 1), face_score=0.0)
    return Record("verdict", None, None, verdict=verdict)
