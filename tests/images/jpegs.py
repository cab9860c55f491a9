"""JPEGs of every kind that encoders write, whole and damaged, always the same for a seed."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

SUBSAMPLINGS = ("444", "422", "420", "440", "411", "Gray")
KINDS = (
    "pillow",
    "subsampled",
    "progressive",
    "restart",
    "grey",
    "cmyk",
    "rgb",
    "coarse",
    "mpo",
    "upright",
    "trailing",
)
DAMAGES = (
    None,
    None,
    "truncated",
    "flipped",
    "zeroed",
    "cut out",
    "no end",
    "header",
)


def drawn(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Smooth areas, edges and noise."""
    coarse = Image.fromarray(random.integers(0, 256, (5, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    noise = random.normal(0, random.uniform(0, 12), smooth.shape)
    noise[: height // 2, : width // 3] += 60
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def jpegs(count: int, seed: int = 0, largest: int = 200) -> Iterator[tuple[str, bytes]]:
    """So many JPEGs, each with a name that says its kind and its damage.

    Args:
        largest: of width and height.
    """
    for number in range(count):
        random = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        damage = DAMAGES[number // len(KINDS) % len(DAMAGES)]
        width, height = (int(side) for side in random.integers(32, largest + 1, 2))
        data = _encoded(kind, drawn(random, width, height), random)
        yield f"{number} {kind} {width}×{height} {damage}", _damaged(data, damage, random)


def _encoded(kind: str, image: Image.Image, random: np.random.Generator) -> bytes:
    quality = int(random.integers(5, 101))
    if kind == "subsampled":
        subsampling = str(random.choice(SUBSAMPLINGS))
        pixels = np.asarray(image)
        if subsampling == "Gray":
            return bytes(simplejpeg.encode_jpeg(pixels[..., :1].copy(), quality, "GRAY", "Gray"))
        return bytes(simplejpeg.encode_jpeg(pixels, quality, "RGB", subsampling))
    options: dict[str, object] = {"quality": quality, "subsampling": int(random.integers(3))}
    file_format = "JPEG"
    if kind == "progressive":
        options |= {"progressive": True, "optimize": bool(random.integers(2))}
    elif kind == "restart":
        options |= {str(random.choice(["restart_marker_blocks", "restart_marker_rows"])): int(random.integers(1, 9))}
    elif kind in ("grey", "cmyk"):
        image = image.convert({"grey": "L", "cmyk": "CMYK"}[kind])
        options.pop("subsampling")
    elif kind == "rgb":
        options |= {"keep_rgb": True, "subsampling": 0}
    elif kind == "coarse":
        options |= {"qtables": [[int(step) for step in random.integers(1, 256, 64)] for _ in range(2)]}
        options.pop("quality")
    elif kind == "mpo":
        file_format = "MPO"
        options |= {"save_all": True, "append_images": [image.copy()]}
    elif kind == "upright":
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(1, 9))
        options |= {"exif": exif.tobytes(), "comment": "made by a test"}
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue() + (random.bytes(500) if kind == "trailing" else b"")


def _damaged(data: bytes, damage: str | None, random: np.random.Generator) -> bytes:
    place = int(random.integers(len(data) // 3, len(data)))
    if damage == "truncated":
        return data[:place]
    if damage == "flipped":
        return data[:place] + bytes([data[place] ^ int(random.integers(1, 256))]) + data[place + 1 :]
    if damage == "zeroed":
        length = int(random.integers(1, 200))
        return data[:place] + bytes(length) + data[place + length :]
    if damage == "cut out":
        return data[:place] + data[place + int(random.integers(1, 300)) :]
    if damage == "no end":
        return data[:-2]
    if damage == "header":
        place = int(random.integers(2, min(600, len(data))))
        return data[:place] + random.bytes(1) + data[place + 1 :]
    return data
