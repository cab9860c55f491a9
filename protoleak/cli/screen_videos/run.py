"""`protoleak screen` of videos: live sources all at once, files one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from protoleak.bundle.report import accusations
from protoleak.cli.console import check_folders, error_console, output_console, print_error, print_note
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.output_guard import refuse_inputs
from protoleak.cli.screen_options import ScreenOptions, VideoOptions, open_screener
from protoleak.cli.screen_videos.status_panel import StatusPanel
from protoleak.cli.screen_videos.tally import VideoTally, print_summary
from protoleak.cli.token_file import read_token
from protoleak.errors import ProtoleakError
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.files import write_whole
from protoleak.progress import no_progress, shown_progress
from protoleak.screener import Screener
from protoleak.strict_json import json_bytes
from protoleak.video.frames import FrameSource
from protoleak.video.outputs.folder import OutputFolder, leftovers_in, open_outputs, outputs_in
from protoleak.video.outputs.run_record import run_record
from protoleak.video.outputs.webhook import Webhook
from protoleak.video.sink import SourcesSink
from protoleak.video.sources.open import open_source
from protoleak.video.sources.part import PartOfSource
from protoleak.video.streams import streams

HURRIED_SECONDS = 2.0  # for events that wait to be posted when a run is stopped: all of it has to end within 4.5


def run(options: ScreenOptions, video_options: VideoOptions) -> ExitStatus:
    """Screens all sources and returns the exit status.

    Ctrl-C, and a disk that refuses, end everything; a source that cannot be read is said, and the others go on.

    Raises:
        ProtoleakError: nothing could be started: the bundle, engine, alpha, face detector or --out is not usable.
    """
    errors = error_console()
    check_folders(video_options.stats)
    _guard_inputs(options, video_options)
    # Several sources keep the processors busy: what threads spend on waiting for each other is then missing elsewhere.
    screener = open_screener(options, Screener, spinning=len(video_options.sources) == 1)
    detector = open_detector(video_options.settings, screener.bundle)
    webhook = _webhook(video_options, errors)
    broken = False
    with shown_progress(errors, stage_lines=False) as progress:
        tally = VideoTally(errors, no_progress if video_options.dashboard else progress)
        try:
            with (
                _outputs(options, video_options, screener, detector) as outputs,
                _posted(webhook) as posting,
            ):
                sinks: list[SourcesSink] = [*outputs, *_panel(video_options, errors), *posting, tally]
                print_note(errors, f"faces: {detector.description}")
                screening = streams(
                    screener,
                    video_options.sources,
                    video_options.settings,
                    sinks,
                    detector,
                    opening=partial(_open, screener, video_options),
                    network=video_options.network,
                )
                # Closed here, not whenever Python gets to it: on Ctrl-C the sinks finish before the folder is closed.
                with contextlib.closing(screening):
                    for _ in screening:
                        pass  # the sinks have seen it
                for note in (note for output in outputs for note in output.notes):
                    print_note(errors, note)
        except KeyboardInterrupt:
            tally.interrupted = True
        except ProtoleakError as error:
            if not tally.begun:
                raise
            broken = True
            print_error(errors, str(error))
    if video_options.stats is not None:
        broken = not _write_statistics(video_options.stats, tally, errors) or broken
    if webhook is not None:
        broken = bool(webhook.lost) or broken
        print_note(errors, webhook.summary)
    if tally.tracks["known"]:
        print_note(output_console(), accusations(screener.report.accused, screener.bundle.manifest.changes))
    print_summary(tally, options.out, output_console())
    return _exit_status(tally, broken)


def _guard_inputs(options: ScreenOptions, video_options: VideoOptions) -> None:
    """Raises ProtoleakError where an output is one of the files that are read."""
    settings = video_options.settings
    inputs = [*video_options.sources, *(str(one) for one in (options.bundle, settings.face_model) if one is not None)]
    if options.out is not None:
        folder = Path(options.out)
        refuse_inputs([*outputs_in(folder), *leftovers_in(folder)], inputs)
    if video_options.stats is not None:
        refuse_inputs([video_options.stats], inputs, "--stats")


def _open(screener: Screener, options: VideoOptions, source: str) -> FrameSource:
    """The part of a source that the options ask for. Raises MediaError where it cannot be opened."""
    opened = open_source(source, network=options.network, isolate=screener.isolate)
    if options.start is None and options.end is None:
        return opened
    return PartOfSource(opened, options.start, options.end)


@contextlib.contextmanager
def _outputs(
    options: ScreenOptions, video_options: VideoOptions, screener: Screener, detector: FaceDetector
) -> Iterator[list[OutputFolder]]:
    """What writes the --out folder, where one was given."""
    if options.out is None:
        yield []
        return
    opened = open_outputs(
        Path(options.out),
        run_record(screener, video_options.settings, detector.description),
        annotate=video_options.annotate,
        several=len(video_options.sources) > 1,
        overwrite=options.overwrite,
    )
    with opened:
        yield [opened]


def _webhook(options: VideoOptions, errors: Console) -> Webhook | None:
    """What posts the events, where that was asked for. Raises ProtoleakError where the address or token is no good."""
    if options.live_events is None:
        return None
    file = options.live_events_token
    token = None if file is None else read_token(file, "--live-events-token-file")
    return Webhook(options.live_events, token=token, notify=lambda message: print_note(errors, message))


@contextlib.contextmanager
def _posted(webhook: Webhook | None) -> Iterator[list[Webhook]]:
    """Posts what is left when the run ends; with less patience where somebody waits for the end."""
    if webhook is None:
        yield []
        return
    hurried = True
    try:
        yield [webhook]
        hurried = False
    finally:
        webhook.close(HURRIED_SECONDS if hurried else None)


def _panel(video_options: VideoOptions, console: Console) -> list[StatusPanel]:
    return [StatusPanel(console)] if video_options.dashboard else []


def _write_statistics(path: Path, tally: VideoTally, errors: Console) -> bool:
    """Whether the counts and times of all sources could be written."""
    try:
        write_whole(path, [json_bytes({"sources": tally.statistics})])
    except ProtoleakError as error:
        print_error(errors, f"--stats: {error}")
        return False
    return True


def _exit_status(tally: VideoTally, broken: bool) -> ExitStatus:
    """
    Args:
        broken: the run ended early, or an event or the statistics are lost.
    """
    if tally.interrupted:
        return ExitStatus.INTERRUPTED
    if not (broken or tally.failed):
        return ExitStatus.ALL_WELL
    judged = any(one.frames_processed for one in tally.statistics)
    return ExitStatus.SOME_FAILED if judged or broken else ExitStatus.NOTHING_DONE
