"""Why bytes that Pillow does not take for an image are none."""

from __future__ import annotations

import struct

from protoleak.images.formats import heif

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


def why_unreadable(data: bytes) -> str:
    """What encoded bytes look like, as the reason why they cannot be decoded."""
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
