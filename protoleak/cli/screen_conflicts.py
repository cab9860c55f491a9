"""Options of `protoleak screen` that contradict each other or the sources, or would do nothing."""

from __future__ import annotations

from pathlib import Path

from protoleak.cli.screen_options import (
    CSV_SUFFIX,
    JSON_LINES_SUFFIXES,
    STANDARD_OUTPUT,
    ScreenOptions,
    VideoOptions,
)
from protoleak.errors import ProtoleakError
from protoleak.video.sources.network_settings import NetworkSettings


def check_with_videos(options: ScreenOptions, video_options: VideoOptions) -> None:
    """Raises ProtoleakError where options cannot be honoured with videos among the sources."""
    start, end = video_options.start or 0.0, video_options.end
    if end is not None and end <= start:
        raise ProtoleakError(f"--to {end:g} is not after --from {start:g}: give a later second")
    if video_options.live_events_token is not None and video_options.live_events is None:
        raise ProtoleakError("--live-events-token-file is for --live-events URL: give that too, or leave it out")
    if options.report is not None:
        raise ProtoleakError("--report is for images: videos have their report in the folder of --out DIR")
    if options.embeddings is not None:
        raise ProtoleakError("--embeddings is for images: take stills from a video; leave it out")
    if options.fdr is not None:
        raise ProtoleakError("--fdr is for images: the faces of a video are no tests of their own; leave it out")
    if options.resume:
        raise ProtoleakError(
            "--resume is for images: a video is screened from its beginning, with --overwrite if need be"
        )
    if options.out is None:
        if video_options.annotate:
            raise ProtoleakError("--annotate needs a folder to write the video into: give --out DIR")
    elif options.sources:
        from protoleak.video.sources.redaction import without_secrets

        raise ProtoleakError(
            f"--out {options.out}: a file for images and a folder for videos, and the sources hold both (such "
            f"as {without_secrets(video_options.sources[0])!r}): screen them one after the other"
        )
    elif options.out == STANDARD_OUTPUT or Path(options.out).suffix.lower() in (*JSON_LINES_SUFFIXES, CSV_SUFFIX):
        raise ProtoleakError(f"--out {options.out}: videos are written into a folder: give --out DIR")


def check_without_videos(video_options: VideoOptions) -> None:
    """Raises ProtoleakError where an option would do nothing because all sources are images."""
    given = {
        "--max-seconds": video_options.settings.max_seconds is not None,
        "--from": video_options.start is not None,
        "--to": video_options.end is not None,
        "--any-host": video_options.network.any_host,
        "--max-download": video_options.network.most_bytes != NetworkSettings.most_bytes,
        "--connect-timeout": video_options.network.open_timeout != NetworkSettings.open_timeout,
        "--stall-timeout": video_options.network.stall_timeout != NetworkSettings.stall_timeout,
        "--annotate": video_options.annotate,
        "--dashboard": video_options.dashboard,
        "--stats": video_options.stats is not None,
        "--live-events": video_options.live_events is not None,
        "--live-events-token-file": video_options.live_events_token is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise ProtoleakError(f"{option} is for videos, and there are none among the sources: leave it out")
