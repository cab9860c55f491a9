"""Which reader looks at an encoded image before its decoder does, and what any image may cost."""

from __future__ import annotations

from collections.abc import Callable

from protoleak.errors import MediaError
from protoleak.images.formats import bmp, gif, heif, jpeg, netpbm, png, tiff, webp
from protoleak.images.formats.base import MEGABYTE, Declared

MAXIMUM_PIXELS = 100_000_000
MAXIMUM_BYTES = 512 * MEGABYTE  # of memory for one image while it is decoded and looked at
IMAGE_BYTES = 4  # per pixel, of Pillow's own image
# A file that states many pixels in few bytes holds nothing to be judged: photographs take 4 to 60 pixels a byte,
# drawings of flat areas up to 350 (PNG cannot do more than 344 of RGB).
LARGE, MAXIMUM_PIXELS_PER_BYTE = 10_000_000, 250

Reader = Callable[[bytes], Declared]
READERS: tuple[tuple[str, Callable[[bytes], bool], Reader], ...] = (
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff"), jpeg.examine),
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), png.examine),
    ("WebP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", webp.examine),
    ("GIF", lambda head: head[:6] in (b"GIF87a", b"GIF89a"), gif.examine),
    ("TIFF", lambda head: head[:2] in (b"II", b"MM") and (42 in head[2:4] or 43 in head[2:4]), tiff.examine),
    ("BMP", lambda head: head.startswith(b"BM"), bmp.examine),
    ("PPM", lambda head: head[:1] == b"P" and head[1:2] in b"0123456fy" and len(head) > 1, netpbm.examine),
    ("HEIF", heif.is_still, heif.examine),
)


def examine(data: bytes) -> Declared:
    """What an encoded image says of itself; nothing is decoded. Unknown formats say nothing.

    Raises:
        MediaError: it is damaged, or would take more time or memory than any image may.
    """
    head = data[: heif.HEAD]
    for _, matches, read in READERS:
        if matches(head):
            declared = read(data)
            check_cost(declared, len(data))
            return declared
    return Declared()


def check_cost(declared: Declared, file_bytes: int) -> None:
    """Raises MediaError where an image states more pixels than are allowed, or than its bytes can hold."""
    pixels = declared.width * declared.height
    size = f"{declared.width}×{declared.height} pixels"
    if pixels > MAXIMUM_PIXELS:
        raise MediaError(f"{size} are {pixels / 1e6:.1f} megapixels, {too_large()}")
    if pixels > LARGE and pixels > MAXIMUM_PIXELS_PER_BYTE * file_bytes:
        raise MediaError(f"{size} in {file_bytes} bytes: there cannot be an image in it, refused before decoding")
    needed = round(pixels * (IMAGE_BYTES + declared.working_bytes)) + file_bytes
    if needed > MAXIMUM_BYTES:
        raise MediaError(
            f"{size} need {needed / MEGABYTE:.0f} MB of memory, more than the {MAXIMUM_BYTES // MEGABYTE} allowed: "
            "refused before decoding; make it smaller"
        )


def too_large() -> str:
    """The end of a message on an image with too many pixels."""
    return f"above the limit of {MAXIMUM_PIXELS // 1_000_000}: refused before decoding"
