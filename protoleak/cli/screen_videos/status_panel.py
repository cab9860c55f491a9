"""The status panel of `--dashboard`: what comes in, what is done, what is queued, and who is in view."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from protoleak.arrays import UInt8Array
from protoleak.cli.console import coloured
from protoleak.video.events import Event, FailureEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

RATE_SECONDS = 3.0  # over which the shown rates are taken: what happens now, not since yesterday


class StatusPanel:
    """A `SourcesSink` that keeps a table at the foot of the terminal up to date; the last one stays.

    Args:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._shown: list[SourcePanel] = []

    def sink(self) -> SourcePanel:
        return SourcePanel(self)

    def source_failed(self, failure: FailureEvent) -> None:
        """Nothing of its own: an error line stands above the table."""

    def begin(self, source: SourcePanel) -> None:
        """From a source that starts: the table gets its row. One that begins when all others have ended is new."""
        if not any(other.open for other in self._shown):
            self._shown = []
            self._live.start()
        self._shown.append(source)

    def update(self) -> None:
        """From a source that has changed."""
        self._live.update(self._table(), refresh=True)
        if not any(source.open for source in self._shown):
            self._live.stop()

    def _table(self) -> Group:
        numbers = Table(box=None, pad_edge=False, header_style="bold")
        numbers.add_column("source", overflow="fold")
        for title in ("frames/s in", "processed", "dropped", "queued", "latency", "attributed", "failures"):
            numbers.add_column(title, justify="right")
        tracks = Table(box=None, pad_edge=False, header_style="bold")
        if several := len(self._shown) > 1:
            tracks.add_column("source", overflow="fold")
        for title in ("track", "verdict", "generator", "p-value", "faces"):
            tracks.add_column(title)
        for source in self._shown:
            numbers.add_row(*source.numbers())
            for row in source.tracks():
                tracks.add_row(*([escape(source.name)] if several else []), *row)
        return Group(numbers, tracks) if tracks.row_count else Group(numbers)


class SourcePanel:
    """A `StatusSink` that keeps one source's row. Made by `StatusPanel.sink`.

    Attributes:
        name: of the source.
        open: whether it has begun and not ended.
    """

    def __init__(self, panel: StatusPanel) -> None:
        self._panel = panel
        self.name, self.open = "", False
        self._faces: Sequence[TrackedFace] = ()
        self._recent: deque[Statistics] = deque()

    def start(self, info: SourceInfo) -> None:
        self.name = info.name
        self._panel.begin(self)
        self.open = True

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:  # noqa: ARG002  # the protocol's
        self._faces = faces

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        """Nothing of its own: events change what the next frame shows."""

    def status(self, statistics: Statistics) -> None:
        """Shows the numbers."""
        self._recent.append(statistics)
        while len(self._recent) > 2 and statistics.seconds - self._recent[0].seconds > RATE_SECONDS:
            self._recent.popleft()
        self._panel.update()

    def finish(self, statistics: Statistics) -> None:
        self._faces, self.open = (), False
        self.status(statistics)

    def numbers(self) -> list[str]:
        """The row of the source: its name and what happens now."""
        if not self._recent:
            return [escape(self.name)]
        now, before = self._recent[-1], self._recent[0] if len(self._recent) > 1 else None
        seconds = now.seconds - (before.seconds if before else 0.0)
        frames_in = now.frames_in - (before.frames_in if before else 0)
        processed = now.frames_processed - (before.frames_processed if before else 0)
        return [
            escape(self.name),
            _rate(frames_in, seconds),
            f"{_rate(processed, seconds)}/s",
            f"{now.frames_dropped} of {now.frames_in}",
            "+".join(str(count) for count in now.queues.values()),
            _latency(now),
            f"{now.attributed} of {now.tracks} tracks",
            str(now.failures),
        ]

    def tracks(self) -> list[list[str]]:
        """A row for each track in view."""
        return [
            [
                str(face.track),
                coloured(face.verdict.label),
                escape(face.verdict.generator or "–"),
                f"{face.verdict.p_value:.3f}",
                str(face.verdict.evidence),
            ]
            for face in self._faces
        ]


def _rate(frames: int, seconds: float) -> str:
    return f"{frames / seconds:.1f}" if seconds > 0 else "–"


def _latency(statistics: Statistics) -> str:
    found = statistics.latency
    if found is None:
        return "no verdict yet"
    return f"p50 {1000 * found.p50:.0f}, p95 {1000 * found.p95:.0f} ms"
