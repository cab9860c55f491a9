"""Opens one image from a path, encoded bytes, a Pillow image or an array, as RGB with a record of what it was.

Everything that is not plain 8-bit RGB is converted the way the published code does it (`Image.convert("RGB")`, no EXIF
rotation), and each conversion leaves a one-line note. Sizes are judged from the header, before anything is decoded.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError, shortened
from protoleak.images.claims.claim import Claim
from protoleak.images.claims.read import read_claims

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | Image.Image | UInt8Array"

MAXIMUM_PIXELS = 100_000_000
MAXIMUM_FILE_BYTES = 2**30  # 100 megapixels of 16-bit RGBA are 0.8 GB uncompressed
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
SIXTEEN_BIT_LAYOUT = re.compile(r"^(I|L|LA|RGB|RGBA|RGBX|RGBa);16")
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
class OpenedImage:
    """One decoded image.

    Attributes:
        name: what messages call it: the path, or what kind of object it was.
        source: the path as given, or None for an image that came from memory.
        image: Pillow image of mode RGB.
        sha256: of the encoded file; of the RGB pixels (rows of 3 bytes) where there is no file.
        hashed: which of the two.
        size: how many bytes were hashed.
        notes: what was converted, one phrase each.
        claims: what the file says of its own origin.
    """

    name: str
    source: str | None
    image: Image.Image
    sha256: str
    hashed: Literal["file", "pixels"]
    size: int
    notes: tuple[str, ...]
    claims: tuple[Claim, ...] = ()


def open_image(source: ImageSource, name: str | None = None, *, upright: bool = False) -> OpenedImage:
    """Decodes an image to RGB.

    Args:
        source: a path; an encoded image as bytes; a Pillow image; or uint8 [H, W, 3] in RGB order.
        name: what error messages call an image that is not a file.
        upright: turn it as its EXIF orientation says; otherwise a note says that there is one.

    Raises:
        MediaError: it cannot be read, is no image, is smaller than 32 pixels on its short side, or has more than 100
            megapixels. One line that names the source and the reason.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        shown = name_in_messages(path)
        data = _read_file(path, shown)
        return _from_encoded(data, shown, printable(path), upright)
    if isinstance(source, (bytes, bytearray)):
        return _from_encoded(bytes(source), name or "image in memory", None, upright)
    if isinstance(source, Image.Image):
        shown = name or "Pillow image"
        image, notes = _decoded(source, shown, upright)
        return _from_pixels(image, shown, notes)
    if isinstance(source, np.ndarray):
        shown = name or "array"
        return _from_pixels(_from_array(source, shown), shown, ())
    raise MediaError(
        f"{name or 'image'}: {type(source).__name__} is not an image: give a path, encoded bytes, a Pillow image or a "
        "uint8 array [H, W, 3]"
    )


def printable(path: str) -> str:
    """A path as valid one-line Unicode: bytes that are not UTF-8, and control characters, are written as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def name_in_messages(path: str) -> str:
    """What messages call a file: its path in one line, or the ends of it where it is longer than a path should be, such
    as an image in base64 that was given for a path."""
    return shortened(printable(path))


def _read_file(path: str, shown: str) -> bytes:
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{shown}: a directory, not an image")
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{shown}: not a regular file")
        if status.st_size > MAXIMUM_FILE_BYTES:
            raise MediaError(f"{shown}: {status.st_size} bytes, more than the {MAXIMUM_FILE_BYTES} allowed")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise MediaError(f"{shown}: no such file") from None
    except OSError as error:
        reason = "the name is too long" if error.errno == errno.ENAMETOOLONG else (error.strerror or str(error)).lower()
        raise MediaError(f"{shown}: cannot be read: {reason}") from error
    except ValueError as error:  # a NUL byte in the name
        raise MediaError(f"{shown}: not a file name: {error}") from error


def _from_encoded(data: bytes, shown: str, source: str | None, upright: bool) -> OpenedImage:
    if not data:
        raise MediaError(f"{shown}: empty, 0 bytes")
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        encoded = _opened(data, shown)
        image, notes = _decoded(encoded, shown, upright)
    except MediaError as error:
        error.about(source, sha256)
        raise
    return OpenedImage(shown, source, image, sha256, "file", len(data), notes, read_claims(encoded, data))


def _from_pixels(image: Image.Image, shown: str, notes: tuple[str, ...]) -> OpenedImage:
    pixels = image.tobytes()
    return OpenedImage(shown, None, image, hashlib.sha256(pixels).hexdigest(), "pixels", len(pixels), notes)


def _from_array(array: npt.NDArray[np.generic], shown: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise MediaError(
            f"{shown}: {array.dtype} {list(array.shape)}, but an array must be uint8 [H, W, 3] in RGB order"
        )
    height, width = array.shape[:2]
    _check_size(width, height, shown)
    return Image.fromarray(np.ascontiguousarray(array))


def _opened(data: bytes, shown: str) -> Image.Image:
    """The image with its header read and nothing decoded."""
    try:
        return Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        raise MediaError(f"{shown}: {_what_it_is(data)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MediaError(f"{shown}: {_too_large('more than 100 megapixels')}") from None
    except Exception as error:  # decoders meet hostile files here and raise many kinds, from struct.error to KeyError
        raise MediaError(f"{shown}: damaged: {_one_line(error)}") from error


def _formats() -> list[str]:
    """FORMATS, less AVIF where this Pillow was built without it (always before 11.3) and does not know the name."""
    from PIL import features

    has_avif = "avif" in features.modules and features.check_module("avif")
    return [name for name in FORMATS if name != "AVIF" or has_avif]


def _decoded(image: Image.Image, shown: str, upright: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """The first frame as RGB, turned upright where that is asked for, and the notes."""
    _check_size(*image.size, shown)
    sixteen_bit = _is_sixteen_bit(image)
    try:
        image.load()
        rgb, notes = _to_rgb(image, sixteen_bit, shown)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            notes.insert(0, f"the first of {frames} frames is used")
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        if orientation in TURNS and upright:
            rgb = rgb.transpose(TURNS[orientation])
            notes.append(f"turned upright as EXIF orientation {orientation} says")
        elif orientation not in (0, 1):
            notes.append(f"EXIF orientation {orientation} is present and not applied")
    except MediaError:
        raise
    except Exception as error:  # see _opened
        text = _one_line(error)
        reason = "truncated: the file ends before the image does" if "truncated" in text.lower() else f"damaged: {text}"
        raise MediaError(f"{shown}: {reason}") from error
    return rgb, tuple(notes)


def _to_rgb(image: Image.Image, sixteen_bit: bool, shown: str) -> tuple[Image.Image, list[str]]:
    mode = image.mode
    notes = []
    if mode == "F":
        raise MediaError(f"{shown}: floating-point pixels have no agreed range: save it with 8 or 16 bits per channel")
    if mode.startswith("I"):
        # Pillow's own conversion clips at 255. The high byte is what it takes of 16-bit RGB, so grey gets the same.
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise MediaError(f"{shown}: pixels of more than 16 bits: save it with 8 or 16 bits per channel")
        image = Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8))
        sixteen_bit = True
        mode = "L"
    if sixteen_bit:
        notes.append("16-bit values are scaled to 8 bits")
    if mode in ("1", "L", "LA", "La"):
        notes.append("grey is converted to RGB")
    elif mode in ("P", "PA"):
        notes.append("a palette is converted to RGB")
    elif mode not in ("RGB", "RGBA", "RGBa", "RGBX"):
        notes.append(f"{mode} is converted to RGB")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        notes.append("the alpha channel is dropped")
    if mode == "RGB":
        return image, notes
    if mode == "P" and "transparency" in image.info:  # Pillow warns about dropping it, which is what is wanted
        image = image.copy()
        del image.info["transparency"]
    if mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    return image.convert("RGB"), notes


def _is_sixteen_bit(image: Image.Image) -> bool:
    """Whether the decoder is about to drop the low byte of 16-bit channels; only known before the image is loaded."""
    for tile in getattr(image, "tile", None) or ():
        arguments = tile[3]
        layout = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(layout, str) and SIXTEEN_BIT_LAYOUT.match(layout):
            return True
    return False


def _check_size(width: int, height: int, shown: str) -> None:
    size = f"{width}×{height} pixels"
    short, long = sorted((width, height))
    if short <= 0:
        raise MediaError(f"{shown}: {size}: there is no pixel in it")
    if width * height > MAXIMUM_PIXELS:
        raise MediaError(f"{shown}: {_too_large(f'{size} are {width * height / 1e6:.1f} megapixels')}")
    if short < MINIMUM_SIDE:
        raise MediaError(f"{shown}: {size}: smaller than the {MINIMUM_SIDE} pixels that the short side needs")
    if long > MAXIMUM_ASPECT_RATIO * short:
        raise MediaError(f"{shown}: {size}: a strip of more than {MAXIMUM_ASPECT_RATIO} to 1, refused")


def _too_large(what: str) -> str:
    return f"{what}, above the limit of {MAXIMUM_PIXELS // 1_000_000}: refused before decoding"


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
    try:
        data[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < min(len(data), 4096) - 4:  # a character cut at the end of the sample is no sign
            return "not an image"
    return "not an image" if b"\0" in data[:4096] else "not an image but a text file"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
