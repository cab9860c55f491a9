"""The options of `protoleak screen` as values, and the screener that they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from protoleak.choices import Compute, EngineName
from protoleak.runtime.engine_options import EngineOptions
from protoleak.video.settings import StreamSettings

if TYPE_CHECKING:
    from rich.console import Console

    from protoleak.screener import Screener


@dataclass(frozen=True)
class ScreenOptions:
    """The options that images and videos share, by the names of the command's.

    Attributes:
        sources: images, folders, globs and "-"; no videos.
        alpha: None for the bundle's.
        faces: how faces are looked for in images; None to judge images whole.
    """

    sources: list[str]
    bundle: str | None = None
    out: str | None = None
    alpha: float | None = None
    resume: bool = False
    overwrite: bool = False
    batch_size: int = 8
    engine: EngineName = "auto"
    variant: str = "auto"
    threads: int | None = None
    compute: Compute = EngineOptions.compute
    device: int = EngineOptions.device
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
    dashboard: bool = False
    stats: Path | None = None


def open_screener(options: ScreenOptions, errors: Console) -> Screener:
    """The screener that the options ask for; what its engine has to say goes to `errors`.

    Raises:
        ProtoleakError: the bundle, the engine or alpha is not usable.
    """
    from protoleak.cli.console import plan_progress, print_note
    from protoleak.screener import Screener

    with plan_progress("the plans of this bundle") as progress:
        return Screener(
            options.bundle,
            alpha=options.alpha,
            variant=options.variant,
            engine=options.engine,
            threads=options.threads,
            engine_options=EngineOptions(
                compute=options.compute,
                device=options.device,
                notify=lambda message: print_note(errors, message),
                progress=progress,
            ),
        )
