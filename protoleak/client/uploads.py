"""From what the user gives to the bytes that are sent, and back to a verdict on what was given."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

import msgspec
import numpy as np
from PIL import Image

from protoleak.errors import MediaError
from protoleak.faces.still_images import FaceVerdict
from protoleak.images.decode import ORIENTATION_TAG
from protoleak.images.open import OpenedImage, open_image
from protoleak.images.sources import (
    DATA_URI,
    WHAT_TO_GIVE,
    ArrayLike,
    ImageSource,
    Readable,
    check_bytes,
    name_in_messages,
    printable,
    read_data_uri,
    read_file,
    read_stream,
)
from protoleak.runtime.verdict import InputRecord, Verdict

Pixels: TypeAlias = "Image.Image | np.ndarray | ArrayLike"
AnyVerdict = TypeVar("AnyVerdict", bound=Verdict)


@dataclass(frozen=True)
class Upload:
    """One image, ready to be sent.

    Attributes:
        name: what messages call it, as a Screener would.
        source: the path as given; None for an image that came from memory.
        data: the encoded image.
        pixels: what was given as pixels and encoded for the way without loss; None for what is a file already.
    """

    name: str
    source: str | None
    data: bytes
    pixels: Pixels | None = None

    @property
    def sha256(self) -> str | None:
        """Of the file; None for pixels, which have none."""
        return None if self.pixels is not None else hashlib.sha256(self.data).hexdigest()

    def restored(self, verdict: AnyVerdict) -> AnyVerdict:
        """The verdict as a Screener would have given it here: with the path, and for pixels with their own record."""
        if self.pixels is None:
            return msgspec.structs.replace(verdict, source=self.source)
        opened = open_image(cast("ImageSource", self.pixels), self.name, upright=verdict.upright == "auto")
        record = InputRecord(opened.sha256, opened.hashed, opened.size, opened.width, opened.height)
        notes = [*opened.notes, *([verdict.lacking] if verdict.lacking else [])]
        if isinstance(verdict, FaceVerdict):
            return msgspec.structs.replace(verdict, image=record, notes=notes)
        return msgspec.structs.replace(verdict, input=record, notes=notes)


def listed(images: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    """One image or many as a list; uint8 [N, H, W, 3] is N images.

    Raises:
        MediaError: it is neither.
    """
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)):
        return [images]
    if isinstance(images, (np.ndarray, ArrayLike)):
        return list(cast("Iterable[ImageSource]", images)) if getattr(images, "ndim", 3) == 4 else [images]
    if isinstance(images, Readable):
        return [images]
    if not isinstance(images, Iterable):
        raise MediaError(f"{type(images).__name__} is not an image: {WHAT_TO_GIVE}")
    return list(images)


def upload(image: ImageSource | MediaError, index: int) -> Upload:
    """Reads an image, or encodes it as PNG where it is pixels.

    Args:
        image: as `Screener` takes it; an error in its place is raised.
        index: of the image among those that were given, for messages about what has no name.

    Raises:
        MediaError: it cannot be read, or is no image that could be sent; with its name.
    """
    if isinstance(image, MediaError):
        raise image
    name, source = f"image {index}", None
    if isinstance(image, (Image.Image, np.ndarray, ArrayLike)):
        return _of_pixels(image, name)
    try:
        if isinstance(image, (str, os.PathLike)):
            text = os.fspath(image)
            name = name_in_messages(text)
            if text.startswith(DATA_URI):
                data = read_data_uri(text)
            else:
                source = printable(text)
                data = read_file(text)
        elif isinstance(image, (bytes, bytearray, memoryview)):
            data = bytes(image)
        elif isinstance(image, Readable):
            given: object = getattr(image, "name", None)
            name = name_in_messages(given) if isinstance(given, str) else name
            data = read_stream(image)
        else:
            raise MediaError(f"{type(image).__name__} is not an image: {WHAT_TO_GIVE}")
        if not data:
            raise MediaError("empty, 0 bytes")
        check_bytes(len(data))
    except MediaError as error:
        raise MediaError(f"{name}: {error}").about(source, None) from error.__cause__
    return Upload(name, source, data)


def _of_pixels(pixels: Pixels, name: str) -> Upload:
    """PNG of the pixels in RGB, as they lie; a Pillow image's orientation goes along, for the server to turn it or not
    as its bundle was trained."""
    opened: OpenedImage = open_image(cast("ImageSource", pixels), name)
    exif = Image.Exif()
    if isinstance(pixels, Image.Image) and (orientation := pixels.getexif().get(ORIENTATION_TAG)):
        exif[ORIENTATION_TAG] = orientation
    buffer = io.BytesIO()
    opened.image.save(buffer, "PNG", compress_level=1, exif=exif)
    return Upload(name, None, buffer.getvalue(), pixels)
