"""The options of `protoleak screen` as values, and the screener that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from protoleak.choices import Compute, EngineName, Upright
from protoleak.faces.settings import FaceFinder, FaceSettings
from protoleak.progress import Progress, no_progress
from protoleak.runtime.engine_options import EngineOptions
from protoleak.video.settings import StreamSettings
from protoleak.video.sources.network_settings import NetworkSettings

if TYPE_CHECKING:
    from protoleak.runtime.opening import Opening
    from protoleak.runtime.pipeline import ImagePipeline

    Pipeline = TypeVar("Pipeline", bound=ImagePipeline)

STANDARD_INPUT = STANDARD_OUTPUT = "-"
JSON_LINES_SUFFIXES, CSV_SUFFIX = (".jsonl", ".ndjson"), ".csv"  # what a results file of images may end in


@dataclass(frozen=True)
class ScreenOptions:
    """The options that images and videos share, by the names of the command's.

    Attributes:
        sources: images, folders, globs and "-"; no videos.
        alpha: None for the bundle's.
        report: folder for the report on images.
        embeddings: Parquet file for what the network gave of every face.
        fdr: false discovery rate of the findings over all images; None for no findings.
        faces: how faces are found and cut out of images.
        isolate: decode in processes of its own.
        null: paths on standard input end with NUL.
        upright: None for what the bundle was trained on.
        finder: who finds them there, or "none" to judge images whole; None for what the bundle was trained on.
    """

    sources: list[str]
    bundle: str | None = None
    trusted_key: Path | None = None
    out: str | None = None
    alpha: float | None = None
    resume: bool = False
    overwrite: bool = False
    report: Path | None = None
    fdr: float | None = None
    embeddings: Path | None = None
    batch_size: int = 8
    engine: EngineName = "auto"
    variant: str = "auto"
    threads: int | None = None
    compute: Compute = EngineOptions.compute
    device: int = EngineOptions.device
    faces: FaceSettings = field(default_factory=FaceSettings)
    finder: FaceFinder | None = None
    isolate: bool = False
    null: bool = False
    upright: Upright | None = None


@dataclass(frozen=True)
class VideoOptions:
    """The options of videos alone.

    Attributes:
        sources: names for `open_source`, each once.
        stats: a JSON file.
        start, end: seconds of each source between which it is screened; None for its beginning and end.
        network: limits of addresses, and whether HTTP may redirect to another host.
        live_events: address that every event is posted to.
        live_events_token: file with the bearer token for it.
    """

    sources: list[str]
    settings: StreamSettings
    annotate: bool = False
    dashboard: bool = False
    stats: Path | None = None
    start: float | None = None
    end: float | None = None
    network: NetworkSettings = field(default_factory=NetworkSettings)
    live_events: str | None = None
    live_events_token: Path | None = None


def open_early(options: ScreenOptions) -> Opening | None:
    """Has engines of the processor open the graphs while a command imports the rest; None where a GPU is used, whose
    plans may take minutes, which is to be seen.

    Raises:
        ProtoleakError: the bundle or the engine is not usable.
    """
    from protoleak.runtime.engines import choose
    from protoleak.runtime.engines.availability import CPU_ENGINES
    from protoleak.runtime.opening import Opening

    if choose(options.engine, options.device)[0] not in CPU_ENGINES:
        return None
    opening = Opening(
        options.bundle,
        trusted_key=options.trusted_key,
        variant=options.variant,
        engine=options.engine,
        threads=options.threads,
        engine_options=_engine_options(options, no_progress),
    )
    opening.start(warm=True)
    return opening


def open_screener(
    options: ScreenOptions,
    kind: type[Pipeline],
    *,
    early: Opening | None = None,
    spinning: bool = True,
    meanwhile: Callable[[Pipeline], None] | None = None,
) -> Pipeline:
    """The screener, or the pipeline that judges images whole, that the options ask for; what its engine has to say goes
    to standard error.

    Args:
        early: what `open_early` gave.
        spinning: see `EngineOptions`.
        meanwhile: see `ImagePipeline`.

    Raises:
        ProtoleakError: the bundle, the engine or alpha is not usable.
    """
    from protoleak.cli.console import plan_progress
    from protoleak.cli.short_process import resting_collector

    with resting_collector(), plan_progress("the plans of this bundle") as progress:
        return kind(
            early or options.bundle,
            trusted_key=options.trusted_key,
            alpha=options.alpha,
            variant=options.variant,
            engine=options.engine,
            threads=options.threads,
            isolate=options.isolate,
            upright=options.upright,
            meanwhile=meanwhile,
            engine_options=_engine_options(options, progress, spinning=spinning),
        )


def _engine_options(options: ScreenOptions, progress: Progress, *, spinning: bool = True) -> EngineOptions:
    from protoleak.cli.console import error_console, print_note

    return EngineOptions(
        compute=options.compute,
        device=options.device,
        spinning=spinning,
        notify=lambda message: print_note(error_console(), message),
        progress=progress,
    )
