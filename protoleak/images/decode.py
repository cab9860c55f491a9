"""Decodes one encoded image to RGB.

Everything that is not plain 8-bit RGB is converted the way the published code does it, and each conversion leaves a
one-line note. What an image declares of itself is judged before anything is decoded (`images.formats`), and what a
decoder warns of is damage: an image of which a part is missing is refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

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
from protoleak.images.unreadable import why_unreadable

MINIMUM_SIDE = 32  # below this there is no face to attribute: the short side would be enlarged eight times
MAXIMUM_ASPECT_RATIO = 100  # the short side becomes 256 pixels, so a thin strip would grow without bound
# Formats that Pillow may try. Others are left out because their decoders run other programs (EPS) or are rarely used
# and rarely tested. The common ones come first: Pillow then needs to load no further plugin.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "AVIF")
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
    check_size(*opened.size)
    if not isinstance(declared, jpeg.DeclaredJpeg):
        return replace(decoded_image(opened, upright, declared), claims=read_claims(opened, data))
    decode_pixels = partial(jpeg.decode, data, opened.mode, usual=declared.usual)
    decoded = decoded_image(opened, upright, declared, decode_pixels)
    return replace(decoded, claims=read_claims(opened, data, declared.coded))


Decode = Callable[[bytes, bool], DecodedImage]


def _opened(data: bytes) -> Image.Image:
    """The image with its header read and nothing decoded."""
    formats = _formats(data)
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        raise MediaError(why_unreadable(data)) from None
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


def decoded_image(
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
    except Exception as error:  # as in _opened
        text = _one_line(error)
        reason = "truncated: the file ends before the image does" if "truncated" in text.lower() else f"damaged: {text}"
        raise MediaError(reason) from error
    return DecodedImage(pixels, tuple(notes))


def check_size(width: int, height: int) -> None:
    """Raises MediaError for an image too large, too small or too narrow to be judged, by its sides in pixels."""
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
