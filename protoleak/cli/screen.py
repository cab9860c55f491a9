"""`protoleak screen`: verdicts on images (screen_images.py) and on videos (screen_video.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from protoleak.cli.options import DeviceOption, EngineOption, ThreadsOption
from protoleak.cli.screen_options import INTERRUPTED, SOME_FAILED, ScreenOptions, VideoOptions
from protoleak.errors import ProtoleakError
from protoleak.video.settings import StreamSettings

RESULTS_SUFFIXES = (".jsonl", ".ndjson", ".csv")  # as in runtime.results, which imports too much for a help text
FACES = "Faces of images too"
MOVING = "Videos"


def screen(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="Images, videos, folders, globs, - for paths on standard input; a webcam's number, rtsp://…, "
            "http(s)://…, or gst: and a GStreamer pipeline.",
        ),
    ],
    bundle: Annotated[
        Optional[str],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Option("--bundle", help="Bundle directory or .zip; left out, the one that comes with protoleak."),
    ] = None,
    out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--out",
            help="Of images: FILE.jsonl or FILE.csv, written line by line; - for JSON Lines on standard output. Of "
            "videos: a folder.",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Significance level: share of known images that may be called unknown.")
    ] = 0.05,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an existing --out file.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")] = False,
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--batch-size", min=1, help="Images (8) or faces of a video (4) that go through together."),
    ] = None,
    engine: EngineOption = "auto",
    variant: Annotated[
        str, typer.Option("--variant", help="A precision of the bundle, or auto for the fastest, as measured.")
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option("--precision", help="bf16 lets OpenVINO compute in bfloat16; variant keeps the graph's types."),
    ] = "variant",
    device: DeviceOption = 0,
    threads: ThreadsOption = None,
    faces: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--faces",
            rich_help_panel=FACES,
            help="Who finds the faces: auto, yunet, haar, or none to judge whole images. Left out, none for images "
            "and auto for videos.",
        ),
    ] = None,
    face_model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--face-model", rich_help_panel=FACES, help="YuNet ONNX file; left out, the bundle's own."),
    ] = None,
    face_score: Annotated[
        float, typer.Option("--face-score", rich_help_panel=FACES, help="Least confidence of a face.")
    ] = StreamSettings.face_score,
    minimum_face: Annotated[
        int, typer.Option("--minimum-face", rich_help_panel=FACES, help="Least side of a face, in pixels.")
    ] = StreamSettings.minimum_face,
    margin: Annotated[
        float,
        typer.Option("--margin", rich_help_panel=FACES, help="Shown on each side of a face, as a share of its size."),
    ] = StreamSettings.margin,
    every: Annotated[
        float, typer.Option("--every", rich_help_panel=MOVING, help="Seconds between two verdicts on one person.")
    ] = StreamSettings.every,
    minimum_evidence: Annotated[
        int,
        typer.Option("--minimum-evidence", rich_help_panel=MOVING, help="Faces that a verdict on a person rests on."),
    ] = StreamSettings.minimum_evidence,
    max_seconds: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--max-seconds", rich_help_panel=MOVING, help="Stop after so much of each source."),
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", rich_help_panel=MOVING, help="Write annotated.mp4 into the --out folder.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", rich_help_panel=MOVING, help="Show rates, queues, latency and tracks meanwhile.")
    ] = False,
    stats: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--stats", rich_help_panel=MOVING, help="FILE.json for counts and times of every source."),
    ] = None,
) -> None:
    """Say of each face who made it: a known generator, a camera (real), or nobody that the bundle knows."""
    from protoleak.video.sources.open import separate

    stills, videos = separate(sources)
    if faces == "none" and face_model is not None:
        raise ProtoleakError("--face-model is a YuNet model and --faces none uses none: leave one out")
    settings = StreamSettings(
        faces=faces or "auto",  # type: ignore[arg-type]  # StreamSettings refuses what it doesn't know
        face_model=face_model,
        face_score=face_score,
        minimum_face=minimum_face,
        margin=margin,
        every=every,
        minimum_evidence=minimum_evidence,
        max_seconds=max_seconds,
        batch_size=batch_size or StreamSettings.batch_size,
    )
    in_images = faces != "none" and (faces, face_model) != (None, None)
    options = ScreenOptions(
        sources=stills,
        bundle=bundle,
        out=out,
        alpha=alpha,
        resume=resume,
        overwrite=overwrite,
        batch_size=batch_size or ScreenOptions.batch_size,
        engine=engine,
        variant=variant,
        threads=threads,
        precision=precision,
        device=device,
        faces=settings if in_images else None,
    )
    moving = VideoOptions(videos, settings, annotate, live, stats)
    if videos:
        _check_moving(options, moving)
    else:
        _check_still(moving)
    statuses = []
    if stills:
        from protoleak.cli.screen_images import run as run_images

        statuses.append(run_images(options))
    if videos and INTERRUPTED not in statuses:
        from protoleak.cli.screen_video import run as run_videos

        statuses.append(run_videos(options, moving))
    raise typer.Exit(_together(statuses))


def _check_moving(options: ScreenOptions, moving: VideoOptions) -> None:
    """Raises ProtoleakError where options cannot be honoured with videos among the sources."""
    if options.resume:
        raise ProtoleakError(
            "--resume is for images: a video is screened from its beginning, with --overwrite if need be"
        )
    if options.out is None:
        if moving.annotate:
            raise ProtoleakError("--annotate needs a folder to write the video into: give --out DIR")
    elif options.sources:
        raise ProtoleakError(
            f"--out {options.out}: a file for images and a folder for videos, and the sources hold both (such "
            f"as {moving.sources[0]!r}): screen them one after the other"
        )
    elif options.out == "-" or Path(options.out).suffix.lower() in RESULTS_SUFFIXES:
        raise ProtoleakError(f"--out {options.out}: videos are written into a folder: give --out DIR")


def _check_still(moving: VideoOptions) -> None:
    """Raises ProtoleakError where an option would do nothing because all sources are images."""
    given = {
        "--max-seconds": moving.settings.max_seconds is not None,
        "--annotate": moving.annotate,
        "--live": moving.live,
        "--stats": moving.stats is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise ProtoleakError(f"{option} is for videos, and there are none among the sources: leave it out")


def _together(statuses: list[int]) -> int:
    """The exit status of images and videos that were screened one after the other."""
    if INTERRUPTED in statuses:
        return INTERRUPTED
    same = set(statuses)
    return same.pop() if len(same) == 1 else SOME_FAILED
