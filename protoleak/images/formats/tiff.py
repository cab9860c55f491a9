"""TIFF 6.0 and BigTIFF: pages and strips counted; strips that carry a checksum or a JPEG are checked by it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from protoleak.errors import MediaError
from protoleak.images.formats import jpeg
from protoleak.images.formats.base import MAXIMUM_FRAMES, MEGABYTE, Declared, check_cost, first_zeros
from protoleak.images.formats.directories import Directories, Entry

WIDTH, HEIGHT, COMPRESSION, STRIP_OFFSETS, STRIP_SIZES = 0x100, 0x101, 0x103, 0x111, 0x117
TILE_WIDTH, TILE_LENGTH = 0x142, 0x143
TILE_OFFSETS, TILE_SIZES, JPEG_TABLES = 0x144, 0x145, 0x15B
NEW_JPEG, DEFLATE = 7, (8, 32946)
WITHOUT_CHECKSUM, ERASED = (32773, 50000), 256  # PackBits and Zstandard, whose encoders write no such runs of zeros
MAXIMUM_BYTES = 512 * MEGABYTE  # of decompressed strips
CHUNK = MEGABYTE  # of decompressed data that is in memory at a time


def examine(data: bytes) -> Declared:
    """Size, pages, strips; the JPEG strips in it are decoded.

    Raises:
        MediaError: there is more of something than in any image, or a strip is damaged.
    """
    directories = Directories(data)
    first, place = directories.read(directories.first)
    directories.check_inner()
    width, height, wide, high = (
        next(iter(directories.values(first.get(tag))), 0) for tag in (WIDTH, HEIGHT, TILE_WIDTH, TILE_LENGTH)
    )
    check_cost(Declared(wide, high, 9.0), len(data))  # a tile may be larger than the image, and is decoded whole
    pages, seen = 1, {directories.first}
    while place and place not in seen and pages <= MAXIMUM_FRAMES:
        seen.add(place)
        pages += 1
        _, place = directories.read(place)
    compression = next(iter(directories.values(first.get(COMPRESSION))), 1)
    if compression == NEW_JPEG or compression in DEFLATE or compression in WITHOUT_CHECKSUM:
        shared = _jpeg_tables(data, first.get(JPEG_TABLES))
        for part in _parts(data, directories, first):
            if compression == NEW_JPEG:
                jpeg.check_part(part[:2] + shared + part[2:])
            elif compression in WITHOUT_CHECKSUM:
                if first_zeros(part, 0, len(part), ERASED) is not None:
                    raise MediaError(f"damaged: a part of it was erased ({ERASED} zero bytes or more)")
            else:
                _check_deflated(part, MAXIMUM_BYTES)
    return Declared(width, height, 9.0, min(pages, MAXIMUM_FRAMES), pages > MAXIMUM_FRAMES)


def _jpeg_tables(data: bytes, entry: Entry | None) -> bytes:
    """The tables that the JPEGs in a file share, without the markers around them."""
    return data[entry.place + 2 : entry.place + entry.count - 2] if entry is not None and entry.count > 4 else b""


def _parts(data: bytes, directories: Directories, first: dict[int, Entry]) -> Iterator[bytes]:
    """The strips or tiles of the first page.

    Raises:
        MediaError: it isn't said where they are, or one reaches beyond the end of the file.
    """
    offsets, sizes = (
        directories.values(first.get(one)) or directories.values(first.get(other))
        for one, other in ((STRIP_OFFSETS, TILE_OFFSETS), (STRIP_SIZES, TILE_SIZES))
    )
    if not offsets or len(offsets) != len(sizes):
        raise MediaError("damaged: its directory does not say where its strips are and how long")
    read = 0
    for offset, size in zip(offsets, sizes, strict=True):
        read += size
        if offset + size > len(data) or read > 2 * len(data):
            raise MediaError("truncated: the file ends before the image does")
        yield data[offset : offset + size]


def _check_deflated(part: bytes, limit: int) -> None:
    """Compares a strip's checksum, which libtiff doesn't.

    Raises:
        MediaError: it is another, or the strip holds more than any image.
    """
    reader = zlib.decompressobj()
    total = 0
    try:
        while not reader.eof:
            found = len(reader.decompress(part, CHUNK))
            part = reader.unconsumed_tail
            total += found
            if total > limit:
                raise MediaError("its strips hold more than any image: refused")
            if not (found or part or reader.eof):
                raise MediaError("truncated: a strip of it ends early")
    except zlib.error as error:
        raise MediaError(f"damaged: {error}") from None
