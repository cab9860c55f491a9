"""JPEG (ITU-T T.81): scans and segments counted, decoded, and every warning of libjpeg taken for what it is: damage.

libjpeg goes on after damage and fills what is missing with grey; Pillow drops its warnings. libjpeg-turbo's own
interface returns them (simplejpeg) with the same pixels, so that what Pillow would open as RGB or grey is decoded with
it. Of what Pillow converts by itself, such as CMYK, Pillow's pixels are taken; simplejpeg decodes it once more, at an
eighth of its size, for the warnings. What even libjpeg cannot notice, because Huffman codes fall into step again, is
erased space: zero bits that stand for no flat area.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.images.formats.base import Declared, check_metadata, check_parts, first_zeros
from protoleak.images.formats.directories import check_exif

START, END, SCAN, HUFFMAN = 0xD8, 0xD9, 0xDA, 0xC4
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
DECODED_HERE = ("RGB", "L")  # Pillow's modes
USUAL = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
PROGRESSIVE, ARITHMETIC = frozenset({0xC2, 0xC6, 0xCA, 0xCE}), frozenset(range(0xC9, 0xD0))
METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})
ENTROPY_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
MAXIMUM_SCANS = 100  # encoders write 1 to 15
MAXIMUM_SCANNED = 1_000_000_000  # pixels times scans: 1.4 ns each
STRAY = 4096  # bytes between segments, that decoders skip one by one
ERASED, ERASED_REFINEMENT = 64, 256  # zero bytes in a row that no encoder writes, see _check_erased


class Segment(NamedTuple):
    """A marker and where its payload lies; a scan's is followed by its entropy-coded data, up to `data_end`."""

    marker: int
    start: int
    end: int
    data_end: int


@dataclass(frozen=True)
class DeclaredJpeg(Declared):
    """What a JPEG says of itself.

    Attributes:
        usual: whether simplejpeg reads it: 8 bits, and neither lossless nor hierarchical. Pillow may read rare kinds.
        coded: where the entropy-coded data of its longest scan begins and ends.
    """

    usual: bool = True
    coded: tuple[int, int] = (0, 0)


def segments(data: bytes) -> Iterator[Segment]:
    """All segments up to the end of the image; what follows, such as a second image or a video, is left alone.

    Raises:
        MediaError: the file ends before the image does, or there are more segments or stray bytes than in any image.
    """
    place, count, stray = 2, 0, 0
    while True:
        begin = data.find(b"\xff", place)
        if begin < 0:
            raise MediaError("truncated: the file ends before the image does")
        marker_at = begin + 1
        while data[marker_at : marker_at + 1] == b"\xff" and marker_at - begin <= STRAY:
            marker_at += 1
        stray += marker_at - place - 1
        if stray > STRAY:
            raise MediaError(f"damaged: more than {STRAY} stray bytes between its segments")
        if marker_at >= len(data):
            raise MediaError("truncated: the file ends before the image does")
        marker = data[marker_at]
        place = marker_at + 1
        count += 1
        check_parts(count, "segments")
        if marker == END:
            return
        if marker in (0x00, 0x01) or 0xD0 <= marker <= START:
            continue
        end = place + int.from_bytes(data[place : place + 2], "big")
        if end > len(data) or end < place + 2:
            raise MediaError("truncated: the file ends before the image does")
        data_end = end
        if marker == SCAN:
            found = ENTROPY_END.search(data, end)
            if found is None:
                raise MediaError("truncated: the file ends before the image does")
            data_end = found.start()
        yield Segment(marker, place + 2, end, data_end)
        place = data_end


def examine(data: bytes) -> DeclaredJpeg:
    """Size, scans and segments.

    Raises:
        MediaError: there are more than an image has, or space in the file was erased.
    """
    width = height = scans = components = metadata = 0
    frame, usual = 0, True
    coded = 0, 0
    exif: list[bytes] = []
    first_symbol: dict[int, int] = {}  # Huffman table (class << 4 | number) → the symbol of its code of zeros
    for segment in segments(data):
        if segment.marker in METADATA:
            metadata += segment.end - segment.start
            check_metadata(metadata, "EXIF and other segments")
            if segment.marker == 0xE1 and data[segment.start : segment.start + 6] == b"Exif\0\0":
                exif.append(data[segment.start + 6 : segment.end])
            if segment.marker == 0xE2 and data[segment.start : segment.start + 4] == b"MPF\0":
                check_exif(data[segment.start + 4 : segment.end])
        elif segment.marker in FRAMES and not frame:
            frame = segment.marker
            usual = _is_usual(data, segment)
            height = int.from_bytes(data[segment.start + 1 : segment.start + 3], "big")
            width = int.from_bytes(data[segment.start + 3 : segment.start + 5], "big")
            components = data[segment.start + 5]
        elif segment.marker == HUFFMAN:
            first_symbol |= _first_symbols(data[segment.start : segment.end])
        elif segment.marker == SCAN:
            scans += 1
            coded = max(coded, (segment.end, segment.data_end), key=lambda place: place[1] - place[0])
            if scans > MAXIMUM_SCANS or scans * width * height > MAXIMUM_SCANNED:
                most = min(MAXIMUM_SCANS, MAXIMUM_SCANNED // max(1, width * height))
                raise MediaError(
                    f"{scans} scans or more of {width}×{height} pixels, above the limit of "
                    f"{most or f'{MAXIMUM_SCANNED // 1_000_000} megapixels'}: refused before decoding"
                )
            if frame not in ARITHMETIC:
                _check_erased(data, segment, frame in PROGRESSIVE, first_symbol)
    if exif:
        check_exif(b"".join(exif))  # as Pillow joins them
    coefficients = 2.0 * components if frame in PROGRESSIVE else 0.0
    return DeclaredJpeg(width, height, max(3.0, coefficients), usual=usual, coded=coded)


def decode(data: bytes, mode: str, *, usual: bool) -> UInt8Array | None:
    """The pixels in RGB; None of what Pillow has to decode, after its warnings were listened to.

    Args:
        mode: that Pillow opens it in.
        usual: as `examine` found it.

    Returns:
        uint8 [H, W, 3].

    Raises:
        MediaError: libjpeg warned.
    """
    if not usual:
        return None
    if mode in DECODED_HERE:
        return _decoded(data, "RGB", 1)
    check_decoding(data, usual=usual)
    return None


def check_decoding(data: bytes, *, usual: bool) -> None:
    """Decodes it at an eighth of its size, and listens to libjpeg, where simplejpeg reads it.

    Args:
        usual: as `examine` found it.

    Raises:
        MediaError: libjpeg warned.
    """
    if usual:
        _decoded(data, None, 8)


def _decoded(data: bytes, colours: Literal["RGB"] | None, least_factor: int) -> UInt8Array:
    """Its pixels, reduced by `least_factor` at most; `colours` None for those that simplejpeg has of it.

    Raises:
        MediaError: libjpeg warned.
    """
    import simplejpeg

    try:
        if colours is None:
            stored = simplejpeg.decode_jpeg_header(data)[2]
            shown = "CMYK" if stored in ("CMYK", "YCCK") else "GRAY" if stored == "Gray" else "RGB"
        else:
            shown = colours
        size = {} if least_factor == 1 else {"min_height": 1, "min_width": 1, "min_factor": least_factor}
        return np.asarray(simplejpeg.decode_jpeg(data, shown, **size))
    except ValueError as error:
        text = " ".join(str(error).split())
        if "remature end" in text:
            raise MediaError(f"truncated: a part of the image is missing ({text})") from None
        raise MediaError(f"damaged: {text}") from None


def check_part(data: bytes) -> None:
    """A JPEG in another file: as `examine` and `check_decoding`."""
    check_decoding(data, usual=examine(data).usual)


def _is_usual(data: bytes, frame: Segment) -> bool:
    """See `DeclaredJpeg`."""
    return frame.marker in USUAL and data[frame.start] == 8


def _first_symbols(payload: bytes) -> dict[int, int]:
    """Of each Huffman table the first symbol, whose code is all zeros."""
    found, place = {}, 0
    while place + 17 < len(payload):
        found[payload[place]] = payload[place + 17]
        place += 17 + sum(payload[place + 1 : place + 17])
    return found


def _check_erased(data: bytes, scan: Segment, progressive: bool, first_symbol: dict[int, int]) -> None:
    """Zero bits are codes too, and libjpeg may decode thousands and fall into step again without a warning.

    An encoder writes long runs of them only for flat areas, where the codes of zeros say that a block is as grey as the
    one before and ends there; in scans of DC alone they can be anything.

    Raises:
        MediaError: there is such a run, and it doesn't stand for a flat area.
    """
    count = data[scan.start]
    tables = data[scan.start + 2 : scan.start + 1 + 2 * count : 2]
    spectral = data[scan.start + 1 + 2 * count : scan.start + 4 + 2 * count]
    if len(spectral) < 3 or (progressive and spectral[0] == 0):
        return
    used = {0x10 | table & 15 for table in tables}
    if not progressive:
        used |= {table >> 4 for table in tables}
    if all(first_symbol.get(number, 0) == 0 for number in used):
        return
    length = ERASED_REFINEMENT if progressive and spectral[2] >> 4 else ERASED
    place = first_zeros(data, scan.end, scan.data_end, length)
    if place is not None:
        raise MediaError(f"damaged: a part of it was erased ({length} zero bytes or more at {place})")
