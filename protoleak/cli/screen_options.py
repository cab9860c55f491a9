"""The options of `protoleak screen` as values, and what it exits with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protoleak.video.settings import StreamSettings

ALL_WELL, SOME_FAILED, NOTHING_DONE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class ScreenOptions:
    """The options that images and videos share, by the names of the command's.

    Attributes:
        sources: images, folders, globs and "-"; no videos.
        faces: how faces are looked for in images; None to judge images whole.
    """

    sources: list[str]
    bundle: str | None = None
    out: str | None = None
    alpha: float = 0.05
    resume: bool = False
    overwrite: bool = False
    batch_size: int = 8
    engine: str = "auto"
    variant: str = "auto"
    threads: int | None = None
    precision: str = "variant"
    device: int = 0
    faces: StreamSettings | None = None


@dataclass(frozen=True)
class VideoOptions:
    """The options of videos alone.

    Attributes:
        sources: names for `open_source`, each once.
        stats: a JSON file.
    """

    sources: list[str]
    settings: StreamSettings
    annotate: bool = False
    live: bool = False
    stats: Path | None = None
