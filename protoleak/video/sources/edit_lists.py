"""Edit lists of MP4 and QuickTime: FFmpeg makes an index of every frame of every edit when it opens a file, so that a
list of a million edits of the whole video, in 12 MB, takes gigabytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from protoleak.errors import MediaError

MOST_EDITS = 3  # of which nobody asks how many frames they show
MOST_FRAMES = 10_000_000  # that a track shows, edit by edit: 24 bytes of memory each
MOST_BOXES = 10_000  # that are looked at in one box


def check_edits(file: BinaryIO, size: int) -> None:
    """Looks at the edit lists of a file; one that is no MP4 or QuickTime file has none.

    Args:
        file: in binary mode, at any place.
        size: of the file, in bytes.

    Raises:
        MediaError: a track shows more frames than any video has; without a name.
    """
    for moov in _boxes(file, 0, size, (b"moov",)):
        for trak in _boxes(file, *moov, (b"trak",)):
            edits = max(_counts(file, trak, (b"edts", b"elst"), 4), default=0)
            frames = max(_counts(file, trak, (b"mdia", b"minf", b"stbl", b"stsz"), 8), default=0)
            if edits > MOST_EDITS and edits * frames > MOST_FRAMES:
                raise MediaError(f"{edits} edits of {frames} frames each: more than any video has, refused")


def _counts(file: BinaryIO, place: tuple[int, int], path: tuple[bytes, ...], offset: int) -> Iterator[int]:
    """The 32-bit number so many bytes into each box that a path of box types leads to."""
    for found in _boxes(file, *place, path[:1]):
        if len(path) > 1:
            yield from _counts(file, found, path[1:], offset)
        else:
            file.seek(found[0] + offset)
            yield int.from_bytes(file.read(4), "big")


def _boxes(file: BinaryIO, place: int, end: int, kinds: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Where the contents of the boxes of these types begin and end, of those between two places."""
    for _ in range(MOST_BOXES):
        if place + 8 > end:
            return
        file.seek(place)
        head = file.read(16)
        length, begin = int.from_bytes(head[:4], "big"), place + 8
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), place + 16
        elif length == 0:
            length = end - place
        if length < 8:
            return
        if head[4:8] in kinds:
            yield begin, min(place + length, end)
        place += length
