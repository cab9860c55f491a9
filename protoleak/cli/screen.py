"""`protoleak screen`: verdicts on images (screen_images/) and on videos (screen_videos/)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from protoleak.cli.exit_status import ExitStatus, status_of_all
from protoleak.cli.options import (
    ENGINE,
    OUTPUT,
    AlphaOption,
    ComputeOption,
    DeviceOption,
    EngineOption,
    FaceModelOption,
    FaceScoreOption,
    FacesOption,
    IsolateOption,
    MarginOption,
    MinimumFaceOption,
    ThreadsOption,
    TrustedKeyOption,
    UprightOption,
    VariantOption,
)
from protoleak.cli.screen_conflicts import check_with_videos, check_without_videos
from protoleak.cli.screen_options import ScreenOptions, VideoOptions, open_early
from protoleak.cli.short_process import resting_collector
from protoleak.errors import ProtoleakError
from protoleak.runtime.engine_options import EngineOptions
from protoleak.video.settings import StreamSettings
from protoleak.video.sources.network_settings import GB, NetworkSettings

VIDEOS = "Videos"
SECONDS = "SECONDS"


def screen(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Images, videos, folders, globs, - for paths on standard input; a webcam's number, rtsp://…, "
            "http(s)://…, or gst: and a GStreamer pipeline.",
        ),
    ],
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", help="Bundle directory or .zip; left out, the one that comes with protoleak."),
    ] = ScreenOptions.bundle,
    trusted_key: TrustedKeyOption = ScreenOptions.trusted_key,
    alpha: AlphaOption = ScreenOptions.alpha,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            rich_help_panel=OUTPUT,
            help="Of images: FILE.jsonl or FILE.csv, written line by line; - for JSON Lines on standard output. Of "
            "videos: a folder.",
        ),
    ] = ScreenOptions.out,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=OUTPUT, help="Continue an existing --out file.")
    ] = ScreenOptions.resume,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace an existing --out.")
    ] = ScreenOptions.overwrite,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            rich_help_panel=OUTPUT,
            help="Of images: a folder for report.html, one page that needs nothing else and prints whole. Videos have "
            "theirs in --out.",
        ),
    ] = ScreenOptions.report,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            rich_help_panel=OUTPUT,
            help="Of images: FILE.parquet for what the network gave of every face, for `protoleak discover`.",
        ),
    ] = ScreenOptions.embeddings,
    fdr: Annotated[
        float | None,
        typer.Option(
            "--fdr",
            rich_help_panel=OUTPUT,
            help="Of images: also say which of all of them are not real, and not known, with at most this share of "
            "false findings (Benjamini–Hochberg), as 0.05.",
        ),
    ] = ScreenOptions.fdr,
    engine: EngineOption = ScreenOptions.engine,
    variant: VariantOption = ScreenOptions.variant,
    compute: ComputeOption = EngineOptions.compute,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            rich_help_panel=ENGINE,
            help=f"Images ({ScreenOptions.batch_size}) or faces of a video ({StreamSettings.batch_size}) that go "
            "through together.",
        ),
    ] = None,
    device: DeviceOption = EngineOptions.device,
    threads: ThreadsOption = ScreenOptions.threads,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Paths on standard input end with NUL, as of find -print0.")
    ] = ScreenOptions.null,
    isolate: IsolateOption = ScreenOptions.isolate,
    upright: UprightOption = ScreenOptions.upright,
    faces: FacesOption = None,
    face_model: FaceModelOption = StreamSettings.face_model,
    face_score: FaceScoreOption = StreamSettings.face_score,
    minimum_face: MinimumFaceOption = StreamSettings.minimum_face,
    margin: MarginOption = StreamSettings.margin,
    detect_every: Annotated[
        float,
        typer.Option(
            "--detect-every",
            metavar=SECONDS,
            rich_help_panel=VIDEOS,
            help="For which a face may go unnoticed; 0 looks for faces in every frame.",
        ),
    ] = StreamSettings.detect_every,
    every: Annotated[
        float,
        typer.Option("--every", metavar=SECONDS, rich_help_panel=VIDEOS, help="Between two verdicts on one person."),
    ] = StreamSettings.every,
    minimum_evidence: Annotated[
        int,
        typer.Option("--minimum-evidence", rich_help_panel=VIDEOS, help="Faces that a verdict on a person rests on."),
    ] = StreamSettings.minimum_evidence,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-seconds", metavar=SECONDS, rich_help_panel=VIDEOS, help="Stop after so much of each source."
        ),
    ] = StreamSettings.max_seconds,
    start: Annotated[
        float | None,
        typer.Option(
            "--from", min=0, metavar=SECONDS, rich_help_panel=VIDEOS, help="Begin at this second of each source."
        ),
    ] = VideoOptions.start,
    end: Annotated[
        float | None,
        typer.Option(
            "--to", min=0, metavar=SECONDS, rich_help_panel=VIDEOS, help="Stop at this second of each source."
        ),
    ] = VideoOptions.end,
    any_host: Annotated[
        bool, typer.Option("--any-host", rich_help_panel=VIDEOS, help="Let HTTP sources redirect to other hosts.")
    ] = NetworkSettings.any_host,
    max_download: Annotated[
        float,
        typer.Option(
            "--max-download",
            min=0,
            metavar="GB",
            rich_help_panel=VIDEOS,
            help="Largest video file behind an address; a live stream has no size.",
        ),
    ] = NetworkSettings.most_bytes / GB,
    connect_timeout: Annotated[
        float,
        typer.Option(
            "--connect-timeout", min=0.1, metavar=SECONDS, rich_help_panel=VIDEOS, help="To connect to an address."
        ),
    ] = NetworkSettings.open_timeout,
    stall_timeout: Annotated[
        float,
        typer.Option(
            "--stall-timeout",
            min=0.1,
            metavar=SECONDS,
            rich_help_panel=VIDEOS,
            help="Without a frame, after which a connection ends.",
        ),
    ] = NetworkSettings.stall_timeout,
    annotate: Annotated[
        bool, typer.Option("--annotate", rich_help_panel=VIDEOS, help="Write annotated.mp4 into the --out folder.")
    ] = VideoOptions.annotate,
    dashboard: Annotated[
        bool,
        typer.Option("--dashboard", rich_help_panel=VIDEOS, help="Show rates, queues, latency and tracks meanwhile."),
    ] = VideoOptions.dashboard,
    stats: Annotated[
        Path | None,
        typer.Option("--stats", rich_help_panel=VIDEOS, help="FILE.json for counts and times of every source."),
    ] = VideoOptions.stats,
    live_events: Annotated[
        str | None,
        typer.Option(
            "--live-events",
            metavar="URL",
            rich_help_panel=VIDEOS,
            help="Post every event here as it comes, as CloudEvents in JSON.",
        ),
    ] = VideoOptions.live_events,
    live_events_token: Annotated[
        Path | None,
        typer.Option(
            "--live-events-token-file",
            metavar="FILE",
            rich_help_panel=VIDEOS,
            help="File with the bearer token for --live-events.",
        ),
    ] = VideoOptions.live_events_token,
) -> None:
    """Say of each face who made it: a known generator, a camera (real), or nobody that the bundle knows."""
    with resting_collector():
        from protoleak.video.sources.open import separate

    limits = {
        "--from": start,
        "--to": end,
        "--max-download": max_download,
        "--connect-timeout": connect_timeout,
        "--stall-timeout": stall_timeout,
    }
    for option, value in limits.items():
        if value is not None and not math.isfinite(value):
            raise ProtoleakError(f"{option} {value:g} is no finite number: give one, or leave it out")
    stills, videos = separate(sources, isolate=isolate)
    if faces == "none" and face_model is not None:
        raise ProtoleakError("--face-model is a YuNet model and --faces none uses none: leave one out")
    settings = StreamSettings(
        faces=faces or StreamSettings.faces,
        face_model=face_model,
        face_score=face_score,
        minimum_face=minimum_face,
        margin=margin,
        detect_every=detect_every,
        every=every,
        minimum_evidence=minimum_evidence,
        max_seconds=max_seconds,
        batch_size=batch_size or StreamSettings.batch_size,
    )
    options = ScreenOptions(
        sources=stills,
        bundle=bundle,
        trusted_key=trusted_key,
        out=out,
        alpha=alpha,
        resume=resume,
        overwrite=overwrite,
        report=report,
        fdr=fdr,
        embeddings=embeddings,
        batch_size=batch_size or ScreenOptions.batch_size,
        engine=engine,
        variant=variant,
        threads=threads,
        compute=compute,
        device=device,
        faces=settings,
        isolate=isolate,
        null=null,
        upright=upright,
        finder="auto" if faces is None and face_model is not None else faces,
    )
    network = NetworkSettings(
        open_timeout=connect_timeout,
        stall_timeout=stall_timeout,
        most_bytes=round(max_download * GB),
        any_host=any_host,
    )
    video_options = VideoOptions(
        videos, settings, annotate, dashboard, stats, start, end, network, live_events, live_events_token
    )
    if videos:
        check_with_videos(options, video_options)
    else:
        check_without_videos(video_options)
    statuses: list[ExitStatus] = []
    if stills:
        with resting_collector():
            early = open_early(options)
            from protoleak.cli.screen_images.run import run as run_images

        statuses.append(run_images(options, early))
    if videos and ExitStatus.INTERRUPTED not in statuses:
        from protoleak.cli.screen_videos.run import run as run_videos

        statuses.append(run_videos(options, video_options))
    raise typer.Exit(status_of_all(statuses))
