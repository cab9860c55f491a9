"""The status panel of `--dashboard`: what comes in, what is done, what is queued, and who is in view."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from protoleak.arrays import UInt8Array
from protoleak.video.events import Event
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

RATE_SECONDS = 3.0  # over which the shown rates are taken: what happens now, not since yesterday
COLOURS = {"known": "red", "real": "green", "unknown": "yellow", "undecided": "dim"}


class StatusPanel:
    """A `StatusSink` that keeps a table at the foot of the terminal up to date; the last one stays.

    Args:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._name = ""
        self._faces: Sequence[TrackedFace] = ()
        self._recent: deque[Statistics] = deque()

    def start(self, info: SourceInfo) -> None:
        self._name = info.name
        self._live.start()

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:  # noqa: ARG002  # the protocol's
        self._faces = faces

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        """Nothing of its own: events change what the next frame shows."""

    def status(self, statistics: Statistics) -> None:
        """Shows the numbers."""
        self._recent.append(statistics)
        while len(self._recent) > 2 and statistics.seconds - self._recent[0].seconds > RATE_SECONDS:
            self._recent.popleft()
        self._live.update(self._shown(statistics), refresh=True)

    def finish(self, statistics: Statistics) -> None:
        self._faces = ()
        self.status(statistics)
        self._live.stop()

    def _shown(self, now: Statistics) -> Group:
        before = self._recent[0] if len(self._recent) > 1 else None
        seconds = now.seconds - (before.seconds if before else 0.0)
        frames_in = now.frames_in - (before.frames_in if before else 0)
        processed = now.frames_processed - (before.frames_processed if before else 0)
        numbers = Table.grid(padding=(0, 2))
        numbers.add_row("[bold]source[/bold]", escape(self._name))
        numbers.add_row("frames/s", f"{_rate(frames_in, seconds)} in, {_rate(processed, seconds)} processed")
        numbers.add_row("dropped", f"{now.frames_dropped} of {now.frames_in} frames")
        numbers.add_row("queued", ", ".join(f"{count} {name}" for name, count in now.queues.items()))
        numbers.add_row("latency", _latency(now))
        numbers.add_row("attributed", f"{now.attributed} faces of {now.tracks} tracks, {now.failures} failures")
        tracks = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("track", "verdict", "generator", "p-value", "faces"):
            tracks.add_column(title)
        for face in self._faces:
            verdict = face.verdict
            generator = escape(verdict.generator or "–")
            tracks.add_row(
                str(face.track), coloured(verdict.label), generator, f"{verdict.p_value:.3f}", str(verdict.evidence)
            )
        return Group(numbers, tracks) if self._faces else Group(numbers)


def coloured(verdict: str) -> str:
    """A verdict in its colour on a terminal, as Rich's markup."""
    return f"[{COLOURS[verdict]}]{verdict}[/{COLOURS[verdict]}]"


def _rate(frames: int, seconds: float) -> str:
    return f"{frames / seconds:.1f}" if seconds > 0 else "–"


def _latency(statistics: Statistics) -> str:
    found = statistics.latency
    if found is None:
        return "no verdict yet"
    p50, p95, p99 = (1000 * value for value in (found.p50, found.p95, found.p99))
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms"
