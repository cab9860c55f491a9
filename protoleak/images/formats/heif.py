"""HEIF, HEIC and AVIF stills (ISO/IEC 23008-12): recognised by their brands, so that none is taken for a video."""

from __future__ import annotations

import struct

from protoleak.images.formats.base import Declared

# Brands of still images and of sequences of them; what a video says is not among them.
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
OTHER_BRANDS = frozenset({b"mif1", b"mif2", b"mif3", b"msf1", b"jpeg", b"jpgs", b"avci", b"avcs", b"j2ki", b"vvic"})
HEAD = 4096  # bytes within which the brands stand


def still_brand(head: bytes) -> bytes | None:
    """The brand by which a file is a still image; None where it is something else, such as a video.

    Args:
        head: its first bytes.
    """
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head), HEAD)
    major, others = head[8:12], {head[at : at + 4] for at in range(16, end - 3, 4)}
    for brands in (AVIF_BRANDS, HEVC_BRANDS):
        if major in brands:
            return major
    if major in OTHER_BRANDS:  # a general brand: the others say what codes it
        return next((brand for brand in sorted(others) if brand in AVIF_BRANDS | HEVC_BRANDS), major)
    return None


def is_still(head: bytes) -> bool:
    """Whether a file that begins so is a still image in HEIF, HEIC or AVIF."""
    return still_brand(head) is not None


def examine(data: bytes) -> Declared:
    """The largest size that one of its items states."""
    width = height = 0
    place = data.find(b"ispe", 0, 2**20)
    while place >= 0 and place + 16 <= len(data):
        wide, high = struct.unpack_from(">II", data, place + 8)
        if wide * high > width * height:
            width, height = wide, high
        place = data.find(b"ispe", place + 4, 2**20)
    return Declared(width, height, 9.0)
