"""Faces of a source that waits for nobody: found in some frames, and expected by their motion in those that follow.

Nothing is known of what comes, so the detector's next look is put off step by step while everything is where it was
expected, and comes at every frame where it isn't.
"""

from __future__ import annotations

from protoleak.video.frames import Frame
from protoleak.video.messages import TrackedFrame
from protoleak.video.tracking.stage import TrackingStage

CALM = 2  # detected frames in a row with no surprise before frames are left out


class ForesightTracking(TrackingStage):
    """See `TrackingStage`. With `detect_every` 0 the detector looks at every frame."""

    _stride, _calm = 1, 0  # frames from one look of the detector to the next; detected frames without a surprise

    def _frame(self, frame: Frame, cut: bool) -> list[TrackedFrame]:
        ended = self._followed.end() if cut else []
        if cut:
            self._schedule.restart()
        if not self._schedule.due(frame.timestamp, self._stride) and not self._followed.due(frame.timestamp):
            return [self._followed.expected(frame)]
        tracked = self._followed.detected(frame, self._detector(frame.image), ended)
        self._schedule.detected()
        self._calm = self._calm + 1 if self._followed.foreseen else 0
        self._stride = 2 * self._stride if self._calm >= CALM else 1
        return [tracked]

    def _held(self) -> list[TrackedFrame]:
        return []
