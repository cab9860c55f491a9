"""How long frames may go by that the detector doesn't look at."""

from __future__ import annotations

TOLERANCE = 1e-6  # seconds; timestamps are rounded to the container's clock


class DetectionSchedule:
    """Of one source's frames in order.

    Args:
        longest: seconds for which a face may be in view before a frame of it goes through the detector; 0 for every
            frame.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._before: float | None = None  # timestamp of the newest frame; None: nothing is known of it
        self._undetected: float | None = None  # timestamp of the first frame since the detector looked
        self._passed = 0  # frames since then

    def due(self, timestamp: float, most: int) -> bool:
        """Whether the detector has to look at this frame; to be asked once of every frame.

        It has to if the next one, expected as long after this one as this one came after the one before, would be too
        late for a face that came into view right after the detector looked.

        Args:
            timestamp: of the frame, in seconds.
            most: every so many frames it has to anyway.
        """
        step = 0.0 if self._before is None else timestamp - self._before
        unknown = self._before is None
        self._before = timestamp
        if self._undetected is None:
            self._undetected = timestamp
        self._passed += 1
        return (
            unknown
            or self._longest <= 0
            or self._passed >= most
            or timestamp + step - self._undetected > self._longest + TOLERANCE
        )

    def detected(self) -> None:
        """The detector has looked at the newest frame."""
        self._undetected, self._passed = None, 0

    def restart(self) -> None:
        """Nothing is known of the frames before, as after a cut."""
        self._before = None
