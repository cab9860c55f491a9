"""Which reader looks at an encoded image before its decoder does."""

from __future__ import annotations

from collections.abc import Callable

from protoleak.images.formats import bmp, gif, heif, jpeg, netpbm, png, tiff, webp
from protoleak.images.formats.base import Declared, check_cost

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
