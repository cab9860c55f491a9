"""A stream's own timestamps as seconds since its first frame, strictly increasing; what has to be mended is noted."""

from __future__ import annotations

from fractions import Fraction

SMALLEST_STEP = Fraction(1, 1000)  # seconds between a frame and one that claims the same time, at most
BACKWARDS = Fraction(1)  # seconds: a clock that goes back further has been started anew; less is a faulty timestamp


class TimestampMapper:
    """Maps the timestamps of frames to seconds since the first. One per source, for all of its connections.

    Args:
        live: a frame without a timestamp was captured when it was decoded; in a file it comes a period after the last.
    """

    def __init__(self, live: bool = False) -> None:
        self.notes: list[str] = []
        self.last: float | None = None
        self._live = live
        self._start: Fraction | None = None
        self._offset: Fraction | None = None  # what is taken off the stream's timestamps
        self._last = Fraction(0)
        self._first_captured = 0.0
        self._lead = 0.0  # seconds by which the first connection's clock is before the time that has passed here
        self._connected_again = False

    @property
    def start(self) -> Fraction | None:
        """What the stream's own clock showed at the first frame, in seconds; None where it has none."""
        return self._start

    def place(self, stamp: Fraction | None, captured: float, period: Fraction, tick: Fraction) -> float:
        """The frame's timestamp; to be called once for every frame, in the order in which they are shown.

        Args:
            stamp: the container's, in seconds; None where it has none.
            captured: `time.monotonic()` at decoding.
            period: seconds between frames where nothing better is known.
            tick: the unit of the container's timestamps, in seconds.
        """
        step = min(tick, SMALLEST_STEP)
        if stamp is None:
            self._note_missing(period)
        if self.last is None:
            return self._begin(stamp, captured)
        if stamp is None:
            return self._set(self._next(captured, period, step), captured)
        if self._offset is None:  # the first frames had none, or the connection is a new one
            self._offset = stamp - self._next(captured, period, step)
        place = stamp - self._offset
        if float(place) > self.last:  # what differs by less than a float64 holds is the same time
            return self._set(place, captured)
        behind = self._last - place
        if behind > BACKWARDS:
            self._note("its clock starts again in the middle: the frames go on after those before")
            self._offset = stamp - (self._last + period)
            return self._set(self._last + period, captured)
        self._note("two frames with the same timestamp" if behind <= 0 else "timestamps that go backwards")
        return self._set(self._last + step, captured)

    def near(self, stamp: Fraction | None, captured: float) -> float:
        """Where an image that could not be decoded would have been: never before the last frame."""
        if self.last is None:
            return self._begin(stamp, captured)
        if stamp is None or self._offset is None:
            return self.last
        return float(max(stamp - self._offset, self._last))

    def restart(self) -> None:
        """The next frame comes over a new connection, whose timestamps begin anew."""
        self._offset = None
        self._connected_again = self.last is not None

    def _begin(self, stamp: Fraction | None, captured: float) -> float:
        self._start = self._offset = stamp
        self._first_captured = captured
        return self._set(Fraction(0), captured)

    def _next(self, captured: float, period: Fraction, step: Fraction) -> Fraction:
        """Where a frame lies whose timestamp says nothing."""
        if not self._live:
            return self._last + period
        # From the source's beginning, not from the last frame: errors of many connections must not add up. A server
        # first sends what it has in store, faster than it was taken, which puts its clock before the time passed here.
        return max(Fraction(captured - self._first_captured + self._lead), self._last + step)

    def _set(self, place: Fraction, captured: float) -> float:
        self._last = place
        self.last = float(place)
        if not self._connected_again:
            self._lead = max(self._lead, self.last - (captured - self._first_captured))
        return self.last

    def _note_missing(self, period: Fraction) -> None:
        how = (
            "the moment of capture is taken" if self._live else f"{float(1 / period):.6g} frames per second are assumed"
        )
        self._note(f"frames without a timestamp: {how}")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
