"""What every format's reader gives, and the limits that they share."""

from __future__ import annotations

from dataclasses import dataclass

from protoleak.errors import MediaError

MEGABYTE = 2**20
MAXIMUM_PIXELS = 100_000_000
MAXIMUM_BYTES = 512 * MEGABYTE  # of memory for one image while it is decoded and looked at
IMAGE_BYTES = 4  # per pixel, of Pillow's own image
# A file that states many pixels in few bytes holds nothing to be judged: photographs take 4 to 60 pixels a byte,
# drawings of flat areas up to 350 (PNG cannot do more than 344 of RGB).
LARGE, MAXIMUM_PIXELS_PER_BYTE = 10_000_000, 250
MAXIMUM_METADATA = 16 * MEGABYTE  # bytes of EXIF, XMP, colour profiles, comments: Pillow copies them again and again
MAXIMUM_PARTS = 100_000  # chunks, segments, blocks, directory entries: each costs the decoder microseconds
MAXIMUM_FRAMES = 1000  # are counted; of what has more, it is said that it has more


@dataclass(frozen=True)
class Declared:
    """What an encoded image says of itself.

    Attributes:
        width, height: in pixels; 0 where the reader leaves it to Pillow.
        working_bytes: per pixel, that the decoder needs beside the image that it makes.
        frames: of an animation or of pages; None where the reader leaves it to Pillow.
        more_frames: whether counting was given up there.
    """

    width: int = 0
    height: int = 0
    working_bytes: float = 4.0
    frames: int | None = None
    more_frames: bool = False


def check_metadata(count: int, what: str) -> None:
    """Raises MediaError where there are more bytes of metadata than an image has."""
    if count > MAXIMUM_METADATA:
        raise MediaError(
            f"{count / MEGABYTE:.0f} MB of {what}, more than the {MAXIMUM_METADATA // MEGABYTE} allowed: save it "
            "without metadata"
        )


def check_parts(count: int, what: str) -> None:
    """Raises MediaError where a file is cut into more parts than an image is."""
    if count > MAXIMUM_PARTS:
        raise MediaError(f"more than {MAXIMUM_PARTS} {what}: refused before decoding; save it anew")


def first_zeros(data: bytes, start: int, end: int, length: int) -> int | None:
    """Where `length` zero bytes in a row begin between two places; None where there are none."""
    found = data.find(bytes(length), start, end)
    return None if found < 0 else found


def check_cost(declared: Declared, file_bytes: int, maximum_pixels: int = MAXIMUM_PIXELS) -> None:
    """Raises MediaError where an image states more pixels than are allowed, or than its bytes can hold."""
    pixels = declared.width * declared.height
    size = f"{declared.width}×{declared.height} pixels"
    if pixels > maximum_pixels:
        raise MediaError(f"{size} are {pixels / 1e6:.1f} megapixels, {too_large(maximum_pixels)}")
    if pixels > LARGE and pixels > MAXIMUM_PIXELS_PER_BYTE * file_bytes:
        raise MediaError(f"{size} in {file_bytes} bytes: there cannot be an image in it, refused before decoding")
    needed = round(pixels * (IMAGE_BYTES + declared.working_bytes)) + file_bytes
    if needed > MAXIMUM_BYTES:
        raise MediaError(
            f"{size} need {needed / MEGABYTE:.0f} MB of memory, more than the {MAXIMUM_BYTES // MEGABYTE} allowed: "
            "refused before decoding; make it smaller"
        )


def too_large(maximum_pixels: int) -> str:
    """The end of a message on an image with too many pixels."""
    return f"above the limit of {maximum_pixels / 1e6:g}: refused before decoding"
