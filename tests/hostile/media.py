"""What protoleak does with hostile media: an image, or one short error line, soon and in little memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from protoleak.errors import MediaError
from protoleak.images.decode import Decode, decode, open_image
from protoleak.video.frames import Frame
from protoleak.video.sources.open import open_source
from tests.hostile.images import hostile_images
from tests.hostile.videos import hostile_videos

LONGEST_LINE = 500  # characters


@dataclass(frozen=True)
class Tried:
    """One input and what it did.

    Attributes:
        finding: a traceback, or an error that is not one line; None where all is well.
        error: the line that it gave; None where it was taken.
        processor_seconds: of this process.
        peak_mib: how far the process's largest memory rose.
    """

    name: str
    finding: str | None
    error: str | None
    processor_seconds: float
    peak_mib: float


def try_images(seed: int, count: int, decode: Decode = decode) -> Iterator[Tried]:
    """Hostile images, each opened as `screen` does."""
    for name, data in hostile_images(seed, count):
        yield _tried(name, lambda data=data: open_image(data, decode=decode))  # type: ignore[misc]


def try_videos(seed: int, count: int, folder: Path, *, isolate: bool = False) -> Iterator[Tried]:
    """Hostile videos, each read to its end from a file in the folder."""
    for index, (name, data) in enumerate(hostile_videos(seed, count)):
        path = folder / f"{index}.mp4"
        path.write_bytes(data)
        yield _tried(name, lambda path=path: _read(path, isolate))  # type: ignore[misc]
        path.unlink()


def _read(path: Path, isolate: bool) -> None:
    source = open_source(str(path), isolate=isolate)
    try:
        for item in source:
            assert not isinstance(item, Frame) or item.image.ndim == 3
    finally:
        source.close()


def _tried(name: str, use: Callable[[], object]) -> Tried:
    started, before = time.process_time(), _peak_mib()
    finding = error = None
    try:
        use()
    except MediaError as caught:
        error = str(caught)
        if "\n" in error or not error.strip() or len(error) > LONGEST_LINE:
            finding = f"no short line: {error[:200]!r}"
    except Exception as caught:  # what this looks for
        finding = f"{type(caught).__name__}: {caught}"
    return Tried(name, finding, error, time.process_time() - started, _peak_mib() - before)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
