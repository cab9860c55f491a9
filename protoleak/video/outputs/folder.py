"""The folder of a run's outputs, and everything that is written into it.

    with open_output_folder("out", screener, annotate=True) as folder:
        for event in screener.stream("clip.mp4", sinks=[folder]):
            ...


    verdicts.jsonl    one line per attributed face, of all sources: `events.FaceEvent`
    tracks.json       tracks, gaps, failures and counts of all sources: `records.TracksFile`
    annotated.mp4     with `annotate`
    report.html       the report of the source

With several sources every one gets a folder for what belongs to it alone, and report.html beside them leads to theirs:

    report.html
    sources/001_name/annotated.mp4
    sources/001_name/report.html
    sources/002_name/…

A report per source stays small enough to open, to print and to send, however many sources there are.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from protoleak.arrays import UInt8Array
from protoleak.errors import ProtoleakError
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.file_locks import locked
from protoleak.files import refused, remove_partial
from protoleak.video.events import Event, FailureEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.outputs.annotate import AnnotatedVideo
from protoleak.video.outputs.encoder import staged
from protoleak.video.outputs.in_turn import InTurn
from protoleak.video.outputs.records import TRACKS, VERDICTS, RecordFiles
from protoleak.video.outputs.report import HtmlReport, ReportIndex
from protoleak.video.outputs.run_record import RunRecord, run_record
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import CheckpointSink, TrackedFace
from protoleak.video.sources.containers import need_av
from protoleak.video.statistics import Statistics

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline

ANNOTATED, REPORT, SOURCES = "annotated.mp4", "report.html", "sources"
LONGEST_NAME = 40  # of a source in a folder's name


class OutputFolder(InTurn):
    """What writes the whole folder. Made by `open_output_folder` or `open_outputs`; a context manager.

    It is a sink for one source after another, and a `SourcesSink` for several at once. Of a source that could not be
    opened, `source_failed` makes a record. The records are written first, so that what was decided is on disk whatever
    becomes of the video and the report. No other process writes the folder until it is closed.

    Attributes:
        folder: the folder.
        notes: what the user should know of the files, one line each.
    """

    def __init__(
        self, folder: Path, run: RunRecord, *, annotate: bool, several: bool, lock: ExitStack | None = None
    ) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._run, self._annotate = run, annotate
        self._lock = lock or ExitStack()
        self._records = RecordFiles(folder, run)
        self._index = ReportIndex(folder / REPORT, run) if several else None
        self._begun = 0

    def sink(self) -> SourceOutputs:
        """The sink for one more source of several."""
        return SourceOutputs(self._sinks)

    def source_failed(self, failure: FailureEvent) -> None:
        """Records a source that could not even be opened.

        Raises:
            ProtoleakError: the disk refused.
        """
        self._begun += 1
        self._records.source_failed(failure)
        if self._index is not None:
            self._index.source_failed(failure)

    def close(self) -> None:
        """Closes what is open; may be called more than once."""
        self._records.close()
        self._lock.close()

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _sinks(self, info: SourceInfo) -> list[CheckpointSink | AnnotatedVideo]:
        """What writes of one more source, in the order in which it is to be written."""
        self._begun += 1
        place = self.folder
        if self._index is not None:
            place = self.folder / SOURCES / f"{self._begun:03d}_{_file_name(info.name)}"
            _make_folder(place)
        annotated = AnnotatedVideo(place / ANNOTATED, self.notes.append) if self._annotate else None
        report = HtmlReport(place / REPORT, self._run, annotated.path if annotated else None)
        row = self._index.row(report) if self._index is not None else None
        sinks = (self._records.sink(), annotated, report, row)
        return [sink for sink in sinks if sink is not None]


class SourceOutputs:
    """The sink that writes of one source into the folder. Made by `OutputFolder.sink`."""

    def __init__(self, sinks: Callable[[SourceInfo], list[CheckpointSink | AnnotatedVideo]]) -> None:
        self._make = sinks
        self._sinks: list[CheckpointSink | AnnotatedVideo] = []

    def start(self, info: SourceInfo) -> None:
        self._sinks = self._make(info)
        for sink in self._sinks:
            sink.start(info)

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        for sink in self._sinks:
            sink.frame(frame, faces)

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        self._each(lambda sink: sink.event(event, crop))

    def checkpoint(self, statistics: Statistics, open_tracks: Sequence[TrackEvent]) -> None:
        self._each(lambda sink: None if isinstance(sink, AnnotatedVideo) else sink.checkpoint(statistics, open_tracks))

    def finish(self, statistics: Statistics) -> None:
        try:
            self._each(lambda sink: sink.finish(statistics))
        finally:
            self._sinks = []

    def _each(self, call: Callable[[CheckpointSink | AnnotatedVideo], None]) -> None:
        """For every writer in order, also when one before it fails; the first error is raised then."""
        first: ProtoleakError | None = None
        for sink in self._sinks:
            try:
                call(sink)
            except ProtoleakError as error:
                first = first or error
        if first is not None:
            raise first


def open_outputs(
    folder: Path, run: RunRecord, *, annotate: bool = False, several: bool = False, overwrite: bool = False
) -> OutputFolder:
    """Makes the folder and its first files, so that one that cannot be written is known before anything is screened.

    Args:
        folder: made if it isn't there, with those above it.
        run: see `run_record`.
        annotate: write annotated videos.
        several: more than one source is to come.
        overwrite: replace the outputs of an earlier run that the folder holds; anything else in it stays.

    Raises:
        ProtoleakError: it cannot be written, is being written by another process, or holds the outputs of an earlier
            run.
        MissingExtra: PyAV is needed for `annotate`.
    """
    if annotate:
        need_av()
    _make_folder(folder)
    with ExitStack() as stack:
        stack.enter_context(locked(folder / VERDICTS))
        _make_room(folder, overwrite)
        return OutputFolder(folder, run, annotate=annotate, several=several, lock=stack.pop_all())


def _make_room(folder: Path, overwrite: bool) -> None:
    """Removes what an earlier run left, where that is allowed."""
    for path in (folder / TRACKS, folder / REPORT, *_of_sources(folder, REPORT)):
        remove_partial(path)
        with contextlib.suppress(OSError):
            staged(path.with_name(ANNOTATED)).unlink(missing_ok=True)
    earlier = [path for path in outputs_in(folder) if path.exists() or path.is_symlink()]
    if earlier and not overwrite:
        raise ProtoleakError(
            f"{folder} holds the outputs of an earlier run ({earlier[0].name}): replace them with --overwrite, or give "
            "another --out"
        )
    for path in earlier:
        try:
            path.unlink()
        except OSError as error:
            raise refused(path, error) from error


def open_output_folder(
    folder: str | os.PathLike[str],
    pipeline: ImagePipeline,
    settings: StreamSettings | None = None,
    *,
    detector: FaceDetector | None = None,
    annotate: bool = False,
    several: bool = False,
    overwrite: bool = False,
) -> OutputFolder:
    """Opens the folder that a screening of videos writes: a context manager, and a sink for `stream` or `streams`.

        with protoleak.open_output_folder("out", screener, annotate=True) as folder:
            for event in screener.stream("clip.mp4", sinks=[folder]):
                ...

    Its first files are made at once, so that a folder that cannot be written is known before anything is screened.

    Args:
        folder: made if it isn't there, with the folders above it.
        pipeline: the screener, whose bundle and engine the records name.
        settings: the settings that the stream will have; None for the defaults.
        detector: the face detector that the stream is given; None for the one that the settings ask for.
        annotate: write annotated videos.
        several: more than one source is to come: each gets a folder below `folder`.
        overwrite: replace the outputs of an earlier run that the folder holds; anything else in it stays.

    Raises:
        ProtoleakError: the folder cannot be written, is being written by another process, or holds the outputs of an
            earlier run; or there is no such detector.
        MissingExtra: PyAV is needed for `annotate`.
    """
    settings = settings or StreamSettings()
    detector = detector or open_detector(settings, pipeline.bundle)
    run = run_record(pipeline, settings, detector.description)
    return open_outputs(Path(folder), run, annotate=annotate, several=several, overwrite=overwrite)


def outputs_in(folder: Path) -> Iterator[Path]:
    """All files that a run may have left in a folder, and that the next one replaces or deletes."""
    yield from (folder / name for name in (VERDICTS, TRACKS, ANNOTATED, REPORT))
    for name in (ANNOTATED, REPORT):
        yield from _of_sources(folder, name)


def leftovers_in(folder: Path) -> Iterator[Path]:
    """What a killed run may have left in a folder beside its outputs, and the next one removes."""
    for place in (folder, *(folder / SOURCES).glob("[0-9]*_*")):
        yield from place.glob(".partial.*")


def _of_sources(folder: Path, name: str) -> list[Path]:
    return sorted((folder / SOURCES).glob(f"[0-9]*_*/{name}"))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(folder, error) from error


def _file_name(source: str) -> str:
    """What of a source's name every file system takes."""
    last = re.split(r"[/\\]", source.rstrip("/\\"))[-1]
    return re.sub(r"[^A-Za-z0-9.-]+", "_", last)[-LONGEST_NAME:].strip("._") or "source"
