"""The first image of a run: its faces are found while the engines are opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from protoleak.cli.screen_options import ScreenOptions
from protoleak.errors import MediaError
from protoleak.faces.base import FaceDetector
from protoleak.faces.settings import FaceFinder
from protoleak.faces.still_images import FacesInImage, find_faces
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.screener import Screener


class FirstImage:
    """The first image, in which faces are found while the engines are opened.

    Args:
        listed: the inputs of the run.

    Attributes:
        detector: opened by then; None where images are judged whole.
    """

    def __init__(self, options: ScreenOptions, listed: Sequence[str | MediaError]) -> None:
        self._options, self._image = options, listed[0] if listed else None
        self._found: FacesInImage | MediaError | None = None
        self.detector: FaceDetector | None = None

    def find_faces(self, screener: ImagePipeline) -> None:
        """For `open_screener`, to be called meanwhile."""
        import rich.console
        import rich.table  # noqa: F401  # what the verdicts will be shown with

        options = self._options
        finder = finder_of(options, screener)
        if finder == "none" or not isinstance(screener, Screener):
            return
        settings = replace(options.faces, faces=finder)
        self.detector = screener.detector(settings)
        if isinstance(self._image, str) and not options.resume:
            try:
                self._found = find_faces(screener, self.detector, self._image, settings)
            except MediaError as error:
                self._found = error

    def in_place(self, images: Sequence[str | MediaError]) -> Iterator[str | FacesInImage | MediaError]:
        """The images, with what was found in the first one where it is among them."""
        for image in images:
            found, self._found = (self._found, None) if image is self._image else (None, self._found)
            yield image if found is None else found


def finder_of(options: ScreenOptions, screener: ImagePipeline) -> FaceFinder:
    """Who finds the faces: as the options say, else as the bundle was trained."""
    return options.finder or (screener.looks_at if isinstance(screener, Screener) else "none")
