"""What protoleak does with hostile media: an image, or one short error line, soon and in little memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from protoleak.errors import MediaError
from protoleak.images.decode import Decode, decode
from protoleak.images.open import open_image
from protoleak.video.frames import Frame
from protoleak.video.sources.open import open_source
from tests.hostile.images import hostile_images
from tests.hostile.outcomes import Tried, outcome_of
from tests.hostile.videos import hostile_videos


def try_images(seed: int, count: int, decode: Decode = decode) -> Iterator[Tried]:
    """Hostile images, each opened as `screen` does."""
    for name, data in hostile_images(seed, count):
        yield Tried(_kind(name), name, outcome_of(lambda data=data: _open(data, decode), MediaError))  # type: ignore[misc]


def try_videos(seed: int, count: int, folder: Path, *, isolate: bool = False) -> Iterator[Tried]:
    """Hostile videos, each read to its end from a file in the folder."""
    for index, (name, data) in enumerate(hostile_videos(seed, count)):
        path = folder / f"{index}.mp4"
        path.write_bytes(data)
        yield Tried(_kind(name), name, outcome_of(lambda path=path: _read(path, isolate), MediaError))  # type: ignore[misc]
        path.unlink()


def _kind(name: str) -> str:
    """Without its number."""
    return re.sub(r" \d+$", "", name)


def _open(data: bytes, decode: Decode) -> None:
    open_image(data, decode=decode)


def _read(path: Path, isolate: bool) -> str | None:
    source = open_source(str(path), isolate=isolate)
    try:
        for item in source:
            if isinstance(item, Frame) and item.image.ndim != 3:
                return f"a frame with {item.image.ndim} dimensions"
    finally:
        source.close()
    return None
