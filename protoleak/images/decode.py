"""Opens one image, from wherever it comes, as RGB with a record of what it was.

Everything that is not plain 8-bit RGB is converted the way the published code does it, and each conversion leaves a
one-line note. What an image declares of itself is judged before anything is decoded (`images.formats`), and what a
decoder warns of is damage: a picture of which a part is missing is refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.images.claims.claim import Claim
from protoleak.images.claims.read import read_claims
from protoleak.images.formats import heif, jpeg
from protoleak.images.formats.base import MAXIMUM_PIXELS, Declared, check_cost, too_large
from protoleak.images.formats.directories import check_exif
from protoleak.images.formats.examine import examine
from protoleak.images.rgb import conversions, is_sixteen_bit, to_rgb
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

MINIMUM_SIDE = 32  # below this there is no face to attribute: the short side would be enlarged eight times
MAXIMUM_ASPECT_RATIO = 100  # the short side becomes 256 pixels, so a thin strip would grow without bound

# Formats that Pillow may try. Others are left out because their decoders run other programs (EPS) or are rarely used
# and rarely tested. The common ones come first: Pillow then needs to load no further plugin.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "AVIF")

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
# Where width and height stand: Pillow takes a file of size 0 for another format, so the reason must be found here.
DECLARED_SIZE = {"PNG": (">II", 16), "GIF": ("<HH", 6), "BMP": ("<ii", 18)}
ORIENTATION_TAG = 0x0112
TURNS = {  # EXIF orientation → what makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DecodedImage:
    """Pixels and what was done to them.

    Attributes:
        pixels: uint8 [H, W, 3] in RGB order; they may belong to the caller.
        notes: what was converted, one phrase each.
        claims: what the file says of its own origin.
    """

    pixels: UInt8Array
    notes: tuple[str, ...]
    claims: tuple[Claim, ...] = ()


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


def decode(data: bytes, upright: bool, maximum_pixels: int = MAXIMUM_PIXELS) -> DecodedImage:
    """Decodes an encoded image in this process.

    Args:
        upright: turn it as its EXIF orientation says; otherwise a note says that there is one.
        maximum_pixels: more are refused before they are decoded.

    Raises:
        MediaError: it is damaged, no image, or takes more than any image may; without a name.
    """
    declared = examine(data)
    opened = _opened(data)
    check_cost(Declared(*opened.size, declared.working_bytes), len(data), maximum_pixels)
    _check_size(*opened.size)
    decode_jpeg = partial(jpeg.decode, data, opened.mode) if opened.format in ("JPEG", "MPO") else None
    decoded = _decoded(opened, upright, declared, decode_jpeg)
    return replace(decoded, claims=read_claims(opened, data))


Decode = Callable[[bytes, bool], DecodedImage]


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
            _check_size(*source.size)
            decoded = _decoded(source, upright, Declared())
            return _from_pixels(decoded, shown)
        data = _encoded(source, path)
        if data is None:
            pixels = from_array(source)  # type: ignore[arg-type]  # nothing else is left
            _check_size(pixels.shape[1], pixels.shape[0])
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


def _opened(data: bytes) -> Image.Image:
    """The image with its header read and nothing decoded."""
    formats = _formats(data)
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        raise MediaError(_what_it_is(data)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MediaError(f"more than {MAXIMUM_PIXELS // 1_000_000} megapixels, {too_large(MAXIMUM_PIXELS)}") from None
    except Exception as error:  # decoders meet hostile files here and raise many kinds, from struct.error to KeyError
        raise MediaError(f"damaged: {_one_line(error)}") from error


def _formats(data: bytes) -> list[str]:
    """The formats that Pillow may try.

    Raises:
        MediaError: it is a still image in HEIF, and what decodes it isn't installed.
    """
    from PIL import features

    brand = heif.still_brand(data[: heif.HEAD])
    has_avif = "avif" in features.modules and features.check_module("avif")  # always without before 11.3
    if brand is None:
        return [name for name in FORMATS if name != "AVIF"]
    if brand in heif.AVIF_BRANDS:
        if not has_avif:
            raise MediaError("an AVIF image, and this Pillow cannot read it: pip install -U pillow")
        return ["AVIF"]
    try:
        import pillow_heif
    except ImportError:
        kind = "HEIC" if brand in heif.HEVC_BRANDS else "HEIF"
        raise MediaError(
            f'a {kind} image, and pillow-heif is not installed: pip install "protoleak[heif]", or save it as JPEG'
        ) from None
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return ["HEIF"]


def _decoded(
    image: Image.Image,
    upright: bool,
    declared: Declared,
    decode_pixels: Callable[[], UInt8Array | None] | None = None,
) -> DecodedImage:
    """The first frame as RGB, turned upright where that is asked for, and the notes.

    Args:
        decode_pixels: gives uint8 [H, W, 3] in Pillow's place; None where Pillow has to do it.

    Raises:
        MediaError: it is damaged, or of a kind that has no agreed meaning.
    """
    sixteen_bit = is_sixteen_bit(image)
    try:
        pixels = None if decode_pixels is None else decode_pixels()
        if pixels is None:
            image.load()
        exif = image.info.get("exif")
        if isinstance(exif, bytes):
            check_exif(exif)
        if pixels is None:
            rgb, notes = to_rgb(image, sixteen_bit)
            pixels = np.asarray(rgb)
        else:
            notes = conversions(image.mode)
        frames = getattr(image, "n_frames", 1) if declared.frames is None else declared.frames
        if frames > 1:
            notes.insert(0, f"the first of {'more than ' if declared.more_frames else ''}{frames} frames is used")
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        if orientation in TURNS and upright:
            pixels = np.asarray(Image.fromarray(pixels).transpose(TURNS[orientation]))
            notes.append(f"turned upright as EXIF orientation {orientation} says")
        elif orientation not in (0, 1):
            notes.append(f"EXIF orientation {orientation} is present and not applied")
    except MediaError:
        raise
    except MemoryError:
        raise MediaError(
            f"{image.width}×{image.height} pixels take more memory than there is: make it smaller"
        ) from None
    except Exception as error:  # see _opened
        text = _one_line(error)
        reason = "truncated: the file ends before the image does" if "truncated" in text.lower() else f"damaged: {text}"
        raise MediaError(reason) from error
    return DecodedImage(pixels, tuple(notes))


def _check_size(width: int, height: int) -> None:
    size = f"{width}×{height} pixels"
    short, long = sorted((width, height))
    if short <= 0:
        raise MediaError(f"{size}: there is no pixel in it")
    if width * height > MAXIMUM_PIXELS:
        raise MediaError(f"{size} are {width * height / 1e6:.1f} megapixels, {too_large(MAXIMUM_PIXELS)}")
    if short < MINIMUM_SIDE:
        raise MediaError(f"{size}: smaller than the {MINIMUM_SIDE} pixels that the short side needs")
    if long > MAXIMUM_ASPECT_RATIO * short:
        raise MediaError(f"{size}: a strip of more than {MAXIMUM_ASPECT_RATIO} to 1, refused")


def _what_it_is(data: bytes) -> str:
    for signature, kind in SIGNATURES:
        if data.startswith(signature):
            if kind in DECLARED_SIZE:
                layout, offset = DECLARED_SIZE[kind]
                size = data[offset : offset + struct.calcsize(layout)]
                if len(size) == struct.calcsize(layout) and 0 in struct.unpack(layout, size):
                    width, height = struct.unpack(layout, size)
                    return f"{width}×{height} pixels: there is no pixel in it"
            return f"damaged or truncated: it begins like a {kind} and cannot be read as one"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "damaged or truncated: it begins like a WebP and cannot be read as one"
    if heif.is_still(data[: heif.HEAD]):
        return "damaged or truncated: it begins like a HEIF image and cannot be read as one"
    try:
        data[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < min(len(data), 4096) - 4:  # a character cut at the end of the sample is no sign
            return "not an image"
    return "not an image" if b"\0" in data[:4096] else "not an image but a text file"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
