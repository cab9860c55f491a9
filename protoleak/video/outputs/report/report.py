"""The report of one source, as a sink."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protoleak.arrays import UInt8Array
from protoleak.files import write_whole
from protoleak.video.events import Event, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.outputs.report.collector import SourceCollector
from protoleak.video.outputs.report.page import report_page
from protoleak.video.outputs.run_record import RunRecord
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics


class HtmlReport:
    """The sink that writes report.html, at every checkpoint and when its source has ended, was stopped, or failed.

    Args:
        path: of the file.
        annotated: where the annotated video is, as the report's reader finds it; None where there is none.

    Attributes:
        path: as given.
        collected: what is known so far.
    """

    def __init__(self, path: Path, run: RunRecord, annotated: Path | None = None) -> None:
        self.path, self.collected = path, SourceCollector()
        self._run, self._annotated = run, annotated
        self._info: SourceInfo | None = None

    def start(self, info: SourceInfo) -> None:
        self._info = info

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """What it needs of the frames is in the events."""

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        self.collected.add(event, crop)

    def checkpoint(self, statistics: Statistics, open_tracks: Sequence[TrackEvent]) -> None:
        """Writes what is known so far.

        Raises:
            ProtoleakError: the disk refused.
        """
        self._write(statistics, open_tracks)

    def finish(self, statistics: Statistics) -> None:
        """Writes the file.

        Raises:
            ProtoleakError: the disk refused.
        """
        self._write(statistics, None)

    def _write(self, statistics: Statistics, open_tracks: Sequence[TrackEvent] | None) -> None:
        if self._info is not None:
            annotated = self._annotated.name if self._annotated is not None and self._annotated.is_file() else None
            page = report_page(self._info, self._run, self.collected, statistics, annotated, open_tracks)
            write_whole(self.path, [page.encode()])
