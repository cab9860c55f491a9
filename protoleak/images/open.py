"""Opens one image, from wherever it comes, as RGB with a record of what it was."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.images.claims.claim import Claim
from protoleak.images.decode import Decode, DecodedImage, check_size, decode, decoded_image
from protoleak.images.formats.base import Declared
from protoleak.images.sources import (
    DATA_URI,
    WHAT_TO_GIVE,
    ArrayLike,
    ImageSource,
    Readable,
    check_bytes,
    from_array,
    name_in_messages,
    printable,
    read_data_uri,
    read_file,
    read_stream,
)


@dataclass(frozen=True)
class OpenedImage:
    """One decoded image.

    Attributes:
        name: what messages call it: the path, or what kind of object it was.
        source: the path as given, or None for an image that came from memory.
        pixels: uint8 [H, W, 3] in RGB order; of an array that was given, its own.
        sha256: of the encoded file; of the RGB pixels (rows of 3 bytes) where there is no file.
        hashed: which of the two.
        size: how many bytes were hashed.
        notes: what was converted, one phrase each.
        claims: what the file says of its own origin.
    """

    name: str
    source: str | None
    pixels: UInt8Array
    sha256: str
    hashed: Literal["file", "pixels"]
    size: int
    notes: tuple[str, ...]
    claims: tuple[Claim, ...] = ()

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    @property
    def image(self) -> Image.Image:
        """A new Pillow image of the pixels, for what Pillow does."""
        return Image.fromarray(self.pixels)


def open_image(
    source: ImageSource, name: str | None = None, *, upright: bool = False, decode: Decode = decode
) -> OpenedImage:
    """Decodes an image to RGB.

    Args:
        source: a path; a `data:` URI; an encoded image as bytes, a buffer, or a file opened in binary mode; a Pillow
            image; uint8 [H, W, 3] in RGB order, in an array or a tensor in the processor's memory.
        name: what error messages call an image that is not a file.
        upright: turn it as its EXIF orientation says; otherwise a note says that there is one.
        decode: who decodes what is encoded, such as `images.isolated.IsolatedDecoder`.

    Raises:
        MediaError: it cannot be read, is no image, is damaged, is smaller than 32 pixels on its short side, or takes
            more memory or time than any image may. One line that names the source and the reason.
    """
    shown, path = _names(source, name)
    named = None if path is None else printable(path)
    sha256 = None
    try:
        if isinstance(source, Image.Image):
            check_size(*source.size)
            decoded = decoded_image(source, upright, Declared())
            return _from_pixels(decoded, shown)
        data = _encoded(source, path)
        if data is None:
            pixels = from_array(source)  # type: ignore[arg-type]  # nothing else is left
            check_size(pixels.shape[1], pixels.shape[0])
            return _from_pixels(DecodedImage(pixels, ()), shown)
        if not data:
            raise MediaError("empty, 0 bytes")
        check_bytes(len(data))
        sha256 = hashlib.sha256(data).hexdigest()
        decoded = decode(data, upright)
    except MediaError as error:
        raise MediaError(f"{shown}: {error}").about(named, sha256) from error.__cause__
    return OpenedImage(shown, named, decoded.pixels, sha256, "file", len(data), decoded.notes, decoded.claims)


def _names(source: object, name: str | None) -> tuple[str, str | None]:
    """What messages call an image, and its path where it is a file that was named."""
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        is_path = not text.startswith(DATA_URI)
        return name_in_messages(text), text if is_path else None
    if isinstance(source, (bytes, bytearray, memoryview)):
        return name or "image in memory", None
    if isinstance(source, Image.Image):
        return name or "Pillow image", None
    if isinstance(source, (np.ndarray, ArrayLike)):
        return name or "array", None
    if isinstance(source, Readable):
        given: object = getattr(source, "name", None)
        return name_in_messages(given) if isinstance(given, str) else name or "open file", None
    return name or "image", None


def _encoded(source: ImageSource, path: str | None) -> bytes | None:
    """The encoded bytes; None for what is pixels already.

    Raises:
        MediaError: they cannot be read, or it is no image at all.
    """
    if path is not None:
        return read_file(path)
    if isinstance(source, str):
        return read_data_uri(source)
    if isinstance(source, (bytes, bytearray)):
        return bytes(source)
    if isinstance(source, memoryview):
        return source.tobytes()
    if isinstance(source, (np.ndarray, ArrayLike)):
        return None
    if isinstance(source, Readable):
        return read_stream(source)
    raise MediaError(f"{type(source).__name__} is not an image: {WHAT_TO_GIVE}")


def _from_pixels(decoded: DecodedImage, shown: str) -> OpenedImage:
    sha256 = hashlib.sha256(decoded.pixels.data).hexdigest()
    return OpenedImage(shown, None, decoded.pixels, sha256, "pixels", decoded.pixels.nbytes, decoded.notes)
