"""The page that leads to the reports of several sources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from protoleak.arrays import UInt8Array
from protoleak.files import write_whole
from protoleak.reports.page import page
from protoleak.video.events import Event, FailureEvent
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
    """The sink that writes it anew after every source.

    Args:
        path: of the page.
    """

    def __init__(self, path: Path, run: RunRecord) -> None:
        self._path, self._run = path, run
        self._rows: list[str] = []
        self._report: HtmlReport | None = None
        self._name = ""

    def begin(self, report: HtmlReport) -> None:
        """Tells of the report to which the next row leads."""
        self._report = report

    def start(self, info: SourceInfo) -> None:
        self._name = info.name

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """What it shows is collected by the report."""

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        """As for frames."""

    def finish(self, statistics: Statistics) -> None:
        """Adds the source that has ended.

        Raises:
            ProtoleakError: the disk refused.
        """
        if self._report is None:
            return
        collected, report, self._report = self._report.collected, self._report, None
        where = quote(report.path.relative_to(self._path.parent).as_posix())
        cells = [str(collected.verdicts[label]) for label in STYLES]
        cells += [precise_timecode(statistics.media_seconds), str(collected.gap_count), str(collected.failure_count)]
        names = ", ".join(f"{name} {count}" for name, count in collected.generators.most_common()) or "–"
        stopped = " (stopped)" if statistics.interrupted else ""
        self._add(
            f'<th scope="row"><a href="{where}">{escape(self._name)}</a>{stopped}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + f'<td class="text">{escape(names)}</td>'
        )

    def source_failed(self, failure: FailureEvent) -> None:
        """Adds a source that could not be opened.

        Raises:
            ProtoleakError: the disk refused.
        """
        columns = len(STYLES) + 4
        self._add(
            f'<th scope="row">{escape(failure.source)}</th>'
            f'<td class="error" colspan="{columns}">{escape(failure.message)}</td>'
        )

    def _add(self, cells: str) -> None:
        self._rows.append(f"<tr>{cells}</tr>")
        columns = ["source", *STYLES, "screened", "gaps", "failures", "generators named"]
        head = "".join(f'<th scope="col">{column}</th>' for column in columns)
        sections = [
            f"<h1>{TITLE}</h1>",
            '<div class="plain">'
            + "".join(f"<p>{escape(text)}</p>" for text in (*READING, accusations(self._run)))
            + "</div>",
            f"<h2>{counted(len(self._rows), 'source')}</h2>",
            '<div class="scroll"><table><caption>Tracks by verdict, and what was not seen</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(self._rows)}</tbody></table></div>",
        ]
        write_whole(self._path, [page(TITLE, sections, STYLE).encode()])
