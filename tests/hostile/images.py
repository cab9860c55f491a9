"""Hostile still images, made by script from a seed: bombs of every format, and mutated files."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, features

FORMATS = ("JPEG", "PROGRESSIVE", "PNG", "WEBP", "LOSSLESS", "GIF", "BMP", "PPM", "TIFF", "LZW", "DEFLATE", "AVIF")
OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "PROGRESSIVE": ("JPEG", {"progressive": True}),
    "LOSSLESS": ("WEBP", {"lossless": True}),
    "LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "DEFLATE": ("TIFF", {"compression": "tiff_adobe_deflate"}),
}


def photograph_like(seed: int, side: int = 160) -> Image.Image:
    """An image with large forms and noise, as photographs have."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((side, side))
    noise = generator.integers(-12, 13, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str) -> bytes:
    """The image in one of FORMATS."""
    name, options = OPTIONS.get(kind, (kind, {}))
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def formats() -> list[str]:
    """Those of FORMATS that this Pillow writes."""
    return [kind for kind in FORMATS if kind != "AVIF" or features.check_module("avif")]


def segment(marker: int, payload: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def _directory(entries: int, size: int) -> bytes:
    """A TIFF whose entries all point to the same bytes."""
    listed = b"".join(struct.pack("<HHLL", tag, 7, size, 8) for tag in range(1, entries + 1))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + listed + bytes(4)


def many_scans(scans: int = 5000) -> bytes:
    """A progressive JPEG that comes back to the same coefficients again and again."""
    data = encoded(photograph_like(0, 512), "PROGRESSIVE")
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def many_pages(pages: int = 50_000) -> bytes:
    """A TIFF with so many directories."""
    data = encoded(photograph_like(0, 64), "TIFF")
    data += bytes(len(data) % 2)
    place = struct.unpack_from("<L", data, 4)[0]
    end = place + 2 + 12 * struct.unpack_from("<H", data, place)[0]
    one, begin = data[place:end], len(data)
    step = len(one) + 4
    links = [begin + step * (page + 1) for page in range(pages - 1)] + [0]
    return data[:end] + struct.pack("<L", begin) + data[end + 4 :] + b"".join(one + struct.pack("<L", n) for n in links)


def _in_jpeg(parts: bytes) -> bytes:
    data = encoded(photograph_like(0), "JPEG")
    return data[:2] + parts + data[2:]


def _in_png(parts: bytes) -> bytes:
    data = encoded(photograph_like(0), "PNG")
    return data[:33] + parts + data[33:]


def _in_gif(parts: bytes) -> bytes:
    data = encoded(photograph_like(0), "GIF")
    end = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:end] + parts + data[end:]


def _webp(kind: bytes, payload: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 12 + len(payload)) + b"WEBP" + kind + struct.pack("<I", len(payload)) + payload


def _run_lengths(runs: int) -> bytes:
    """A BMP that is compressed in runs of one pixel."""
    sizes = struct.pack("<IHHI", 0, 0, 0, 1078)
    header = struct.pack("<IiiHHIIiiII", 40, 8000, 6000, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + sizes + header + bytes(1024) + b"\x01\x05" * runs


def _tiff(*more: tuple[int, int, int, bytes], side: int = 64) -> bytes:
    """A TIFF with further entries: tag, type, count, and what stands at the place that the entry names, or in it."""
    data = bytearray(encoded(photograph_like(0, side), "TIFF"))
    place = struct.unpack_from("<L", data, 4)[0]
    count = struct.unpack_from("<H", data, place)[0]
    entries = {
        struct.unpack_from("<H", data, at)[0]: bytes(data[at : at + 12])
        for at in range(place + 2, place + 2 + 12 * count, 12)
    }
    for tag, kind, number, content in more:
        value = content
        if len(content) > 4:
            value = struct.pack("<L", len(data))
            data += content
        entries[tag] = struct.pack("<HHL", tag, kind, number) + value.ljust(4, b"\0")
    data += bytes(len(data) % 2)
    data[4:8] = struct.pack("<L", len(data))
    return bytes(data) + struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)


def _inner_directory(entries: int, size: int, kind: int) -> bytes:
    """A TIFF whose EXIF directory has entries that all point to the same bytes."""
    rest = _directory(entries, size)[8:] + bytes(size)
    short = _tiff((0x8769, kind, 1, bytes(4)))
    return _tiff((0x8769, kind, 1, struct.pack("<L", len(short)))) + rest


BOMBS: dict[str, Callable[[], bytes]] = {
    "a large WebP in 34 bytes": lambda: _webp(b"VP8L", b"\x2f" + struct.pack("<I", 16382 | 5999 << 14) + bytes(9)),
    "a WebP's canvas": lambda: _webp(b"VP8X", b"\x02\0\0\0" + b"\xfe\x3f\0" * 2),
    "scans": many_scans,
    "pages": many_pages,
    "a comment before a PPM's size": lambda: b"P6\n#" + b"a" * 50_000_000 + b"\n64 64\n255\n" + bytes(64 * 64 * 3),
    "spaces before a PPM's size": lambda: b"P6" + b" " * 50_000_000 + b"64 64\n255\n" + bytes(64 * 64 * 3),
    "numbers as text": lambda: b"P3\n4000 3200\n255\n" + b"123 " * 37_500_000,
    "numbers to 254": lambda: b"P6\n5000 5000\n254\n" + bytes(75_000_000),
    "EXIF segments": lambda: _in_jpeg(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 920),
    "tiny segments": lambda: _in_jpeg(segment(0xFE, b"x") * 2_000_000),
    "fill bytes": lambda: _in_jpeg(b"\xff" * 20_000_000),
    "an EXIF directory": lambda: _in_jpeg(segment(0xE1, b"Exif\0\0" + _directory(5000, 60_000))),
    "an MPF directory": lambda: _in_jpeg(segment(0xE2, b"MPF\0" + _directory(5000, 60_000))),
    "a TIFF directory": lambda: _directory(65_000, 5_000_000) + bytes(4_300_000),
    "a profile": lambda: _in_png(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000)))),
    "text": lambda: _in_png(chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1_000_000))) * 2000),
    "chunks": lambda: _in_png(chunk(b"tEXt", b"a\0b") * 1_000_000),
    "a flat PNG": lambda: encoded(Image.new("L", (9900, 9900)), "PNG"),
    "blocks before a frame": lambda: _in_gif(b"\x21\xfe" + b"\x01a" * 5_000_000 + b"\0"),
    "stray bytes before a frame": lambda: _in_gif(bytes(20_000_000)),
    "steps of a sampler": lambda: _in_png(
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"Steps: " + b"1" * 1_000_000))
    ),
    "many steps": lambda: _in_png(
        b"".join(chunk(b"zTXt", b"p%d\0\0" % n + zlib.compress(b"Steps: 1 " * 110_000)) for n in range(30))
    ),
    "fields of IPTC": lambda: _tiff((33723, 7, 50_000_000, b"\x1c\x02\x19\0\0" * 10_000_000)),
    "a TIFF's inner directory": lambda: _inner_directory(20_000, 5_000_000, 4),
    "an inner directory of another type": lambda: _inner_directory(20_000, 5_000_000, 13),
    "a tile": lambda: _tiff((0x142, 4, 1, struct.pack("<L", 60_000)), (0x143, 4, 1, struct.pack("<L", 60_000))),
    "a comment inside a number": lambda: b"P6\n50#\n00 5000\n254\n" + bytes(75_000_000),
    "a sign before a number": lambda: b"P6\n+5000 5000\n254\n" + bytes(75_000_000),
    "a line between digits": lambda: b"P6\n50_00 5000\n254\n" + bytes(75_000_000),
    "CMYK to 254": lambda: b"P0CMYK\n5000 5000\n254\n" + bytes(100_000_000),
    "ends of rows in a BMP": lambda: _run_lengths(0) + b"\x01\x05\0\0" * 6000 + bytes(200_000),
    "runs in a BMP": lambda: _run_lengths(20_000_000),
}


def mutated(data: bytes, choice: random.Random) -> bytes:
    """The bytes with one kind of damage: cut, erased, overwritten, repeated, swapped, or numbers made large."""
    place = choice.randrange(len(data))
    length = choice.choice((1, 4, 64, 512, 4096))
    kind = choice.randrange(7)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[-choice.randrange(1, 16) :]
    if kind == 2:
        return data[:place] + bytes(length) + data[place + length :]
    if kind == 3:
        return data[:place] + choice.randbytes(length) + data[place + length :]
    if kind == 4:
        return data[:place] + data[place : place + length] * choice.choice((2, 10, 1000)) + data[place + length :]
    if kind == 5:
        return data[:place] + choice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")) + data[place + 4 :]
    changed = bytearray(data)
    for _ in range(choice.randrange(1, 20)):
        changed[choice.randrange(min(len(changed), 200))] = choice.randrange(256)  # headers are at the beginning
    return bytes(changed)


def hostile_images(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Every bomb once, then mutated files of every format.

    Args:
        count: of all; fewer than the bombs are not given.

    Yields:
        what it is, and its bytes.
    """
    for name, make in BOMBS.items():
        yield name, make()
    choice = random.Random(seed)
    originals = {kind: [encoded(photograph_like(number), kind) for number in range(3)] for kind in formats()}
    for index in range(count - len(BOMBS)):
        kind = choice.choice(list(originals))
        data = choice.choice(originals[kind])
        for _ in range(choice.randrange(1, 3)):
            data = mutated(data, choice) or data
        yield f"mutated {kind} {index}", data
