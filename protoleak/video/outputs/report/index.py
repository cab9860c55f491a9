"""The page that leads to the reports of several sources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from protoleak.arrays import UInt8Array
from protoleak.files import write_whole
from protoleak.reports.page import page
from protoleak.video.events import Event, FailureEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.outputs.report.page import READING, STYLE, counted
from protoleak.video.outputs.report.report import HtmlReport
from protoleak.video.outputs.report.track import precise_timecode
from protoleak.video.outputs.report.wording import accusations
from protoleak.video.outputs.run_record import RunRecord
from protoleak.video.outputs.verdict_style import STYLES
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

TITLE = "protoleak: report of several sources"


class ReportIndex:
    """Writes the page anew whenever a row changes.

    Args:
        path: of the page.
    """

    def __init__(self, path: Path, run: RunRecord) -> None:
        self._path, self._run = path, run
        self._rows: list[str] = []

    def row(self, report: HtmlReport) -> IndexRow:
        """The sink that keeps the row of one more source, which leads to its report."""
        where = quote(report.path.relative_to(self._path.parent).as_posix())
        return IndexRow(self, report, where)

    def source_failed(self, failure: FailureEvent) -> None:
        """Adds a source that could not be opened.

        Raises:
            ProtoleakError: the disk refused.
        """
        columns = len(STYLES) + 4
        self.put(
            None,
            f'<th scope="row">{escape(failure.source)}</th>'
            f'<td class="error" colspan="{columns}">{escape(failure.message)}</td>',
        )

    def put(self, place: int | None, cells: str) -> int:
        """Writes the page with a row's new content; returns its place among the rows.

        Args:
            place: None for a new row.

        Raises:
            ProtoleakError: the disk refused.
        """
        if place is None:
            place = len(self._rows)
            self._rows.append("")
        self._rows[place] = f"<tr>{cells}</tr>"
        columns = ["source", *STYLES, "screened", "gaps", "failures", "generators named"]
        head = "".join(f'<th scope="col">{column}</th>' for column in columns)
        sections = [
            f"<h1>{TITLE}</h1>",
            '<div class="plain">'
            + "".join(f"<p>{escape(text)}</p>" for text in (accusations(self._run), *READING))
            + "</div>",
            f"<h2>{counted(len(self._rows), 'source')}</h2>",
            '<div class="scroll"><table><caption>Tracks by verdict, and what was not seen</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(self._rows)}</tbody></table></div>",
        ]
        write_whole(self._path, [page(TITLE, sections, STYLE).encode()])
        return place


class IndexRow:
    """The sink that keeps one source's row up to date. Made by `ReportIndex.row`.

    Raises:
        ProtoleakError: the disk refused.
    """

    def __init__(self, index: ReportIndex, report: HtmlReport, where: str) -> None:
        self._index, self._report, self._where = index, report, where
        self._name = ""
        self._place: int | None = None

    def start(self, info: SourceInfo) -> None:
        self._name = info.name

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """What it shows is collected by the report."""

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        """As for frames."""

    def checkpoint(self, statistics: Statistics, open_tracks: Sequence[TrackEvent]) -> None:  # noqa: ARG002
        self._put(statistics, " (not finished)")

    def finish(self, statistics: Statistics) -> None:
        self._put(statistics, " (stopped)" if statistics.interrupted else "")

    def _put(self, statistics: Statistics, state: str) -> None:
        collected = self._report.collected
        cells = [str(collected.verdicts[label]) for label in STYLES]
        cells += [precise_timecode(statistics.media_seconds), str(collected.gap_count), str(collected.failure_count)]
        names = ", ".join(f"{name} {count}" for name, count in collected.generators.most_common()) or "–"
        self._place = self._index.put(
            self._place,
            f'<th scope="row"><a href="{self._where}">{escape(self._name)}</a>{state}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + f'<td class="text">{escape(names)}</td>',
        )
