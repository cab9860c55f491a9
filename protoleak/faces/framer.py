"""Image files as a model or a bundle sees them: decoded, the face found where a look needs it, framed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.faces.base import Face
from protoleak.faces.largest import LargestFace
from protoleak.images.framing import Framing
from protoleak.images.open import OpenedImage, open_image
from protoleak.images.resize import RgbImage


@dataclass(frozen=True)
class Framer:
    """Frames image files by their largest face, as `Screener` does, and can be sent to other processes.

    Attributes:
        framing: of the model or bundle.
        find: the largest face; None where no look needs one.
    """

    framing: Framing
    find: LargestFace | None = None

    @property
    def face_model(self) -> str:
        """SHA-256 of the model that finds faces; empty where no look needs one."""
        return "" if self.find is None else self.find.sha256

    def open(self, path: Path) -> tuple[OpenedImage, Face | None]:
        """A decoded image, upright where that matters, and its largest face where a look needs one.

        Raises:
            MediaError: it is no readable image, or no face was found; one line that names the file.
        """
        opened = open_image(path, upright=self.framing.upright)
        if self.find is None:
            return opened, None
        try:
            return opened, self.find(opened.pixels)
        except MediaError as error:
            raise MediaError(f"{opened.name}: {error}") from error

    def frame(self, image: RgbImage, face: Face | None) -> UInt8Array:
        """uint8 [L, S, S, 3] of an upright image and its face."""
        return self.framing.frame(image, None if face is None else face.box)

    def file(self, path: Path) -> UInt8Array:
        """An image file as the latent encoder gets it: uint8 [L, S, S, 3]. Raises MediaError as `open`."""
        opened, face = self.open(path)
        return self.frame(opened.pixels, face)
