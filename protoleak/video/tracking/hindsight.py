"""Faces of a file, whose frames can wait: found in some frames, and in those between by what is on either side.

Frames are held until the detector has looked at the last of them. Where it finds the same faces there as in the last
frame before them, they were in between all along. Where it doesn't, somebody came or went or moved fast, and the frame
in the middle is looked at as well, and so on: a face is found in the frame in which it comes into view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple

from protoleak.faces.base import Face, FaceDetector
from protoleak.images.framing import Box
from protoleak.video.frames import Frame
from protoleak.video.messages import TrackedFrame
from protoleak.video.tracking.stage import TrackingStage
from protoleak.video.tracking.tracker import matches

FRAMES_HELD = 16  # at most, for the sake of memory: 50 MB of 1920×1080; 0.2 s have as many at 80 frames per second
SAME_FACE = 0.5  # overlap of a face some frames later with where it should be; other ones are looked for in between
SHORTEST = 1e-6  # seconds from one frame to another


class HindsightTracking(TrackingStage):
    """See `TrackingStage`."""

    _waiting: tuple[Frame, ...] = ()
    _before: tuple[float, Sequence[Face]] | None = None  # the newest detected frame, unless there was a cut or a gap

    def _frame(self, frame: Frame, cut: bool) -> list[TrackedFrame]:
        done, ended = [], []
        if cut:
            done, ended = self._held(), self._followed.end()
            self._schedule.restart()
        self._waiting += (frame,)
        if self._schedule.due(frame.timestamp, FRAMES_HELD) or self._followed.due(frame.timestamp):
            done += self._done(ended)
        return done

    def _held(self) -> list[TrackedFrame]:
        done = self._done([]) if self._waiting else []
        self._before = None
        return done

    def _done(self, ended: Sequence[int]) -> list[TrackedFrame]:
        """The waiting frames, of which the last is looked at; `ended`: tracks that are over before the first."""
        waiting, self._waiting = self._waiting, ()
        segment = _Segment(self._detector, waiting, self._before, self._followed.moved)
        done = []
        for place, frame in enumerate(waiting):
            if not segment.is_detected(place) and self._followed.due(frame.timestamp):
                segment.detect(place)
            faces = segment.faces(place)
            if segment.is_detected(place):
                done.append(self._followed.detected(frame, faces, ended))
            else:
                done.append(self._followed.between(frame, faces))
            ended = []
        self._before = waiting[-1].timestamp, segment.faces(len(waiting) - 1)
        self._schedule.detected()
        return done


class _Segment:
    """The faces of successive frames of one shot, of which the detector looks at as few as it can, the last included.

    Args:
        before: time and faces of the frame before the first; None where nothing is known of it, and all are looked at.
        moved: where the face of a box at one time should be at another.
    """

    def __init__(
        self,
        detector: FaceDetector,
        frames: Sequence[Frame],
        before: tuple[float, Sequence[Face]] | None,
        moved: Callable[[Box, float, float], Box],
    ) -> None:
        self._detector, self._frames, self._before, self._moved = detector, frames, before, moved
        self._detected: dict[int, Sequence[Face]] = {}
        self._between: dict[int, Sequence[Face]] = {}
        last = len(frames) - 1
        self.detect(last)
        if before is not None:
            self._fill(-1, last)
        else:
            for place in range(last):
                self.detect(place)

    def is_detected(self, place: int) -> bool:
        return place in self._detected

    def faces(self, place: int) -> Sequence[Face]:
        """Those of a frame, by its place."""
        return self._detected[place] if place in self._detected else self._between[place]

    def detect(self, place: int) -> None:
        """Has the detector look at a frame."""
        self._detected[place] = self._detector(self._frames[place].image)

    def _fill(self, first: int, last: int) -> None:
        """The faces between two detected frames; -1 is the one before the segment."""
        if last - first < 2:
            return
        (start, earlier), (end, later) = self._known(first), self._known(last)
        pairs = self._same(earlier, later, start, end)
        if len(pairs) == len(earlier) == len(later):
            for place in range(first + 1, last):
                share = (self._frames[place].timestamp - start) / max(end - start, SHORTEST)
                self._between[place] = [_between(earlier[one], later[other], share) for other, one in pairs]
            return
        middle = (first + last) // 2
        self.detect(middle)
        self._fill(first, middle)
        self._fill(middle, last)

    def _same(
        self, earlier: Sequence[Face], later: Sequence[Face], start: float, end: float
    ) -> Sequence[tuple[int, int]]:
        """Which face of `later` is which of `earlier`: where it stands still, else where it goes on as it moved."""
        found = [face.box for face in later]
        staying = list(matches([face.box for face in earlier], found, SAME_FACE))
        if len(staying) == len(earlier):
            return staying
        return list(matches([self._moved(face.box, start, end) for face in earlier], found, SAME_FACE))

    def _known(self, place: int) -> tuple[float, Sequence[Face]]:
        if place < 0:
            assert self._before is not None  # only then is a frame before the segment asked for
            return self._before
        return self._frames[place].timestamp, self._detected[place]


def _between(earlier: Face, later: Face, share: float) -> Face:
    """A face that is on its way from one box to another; its landmarks are unknown."""
    first, second = astuple(earlier.box), astuple(later.box)
    box = Box(*(one + share * (other - one) for one, other in zip(first, second, strict=True)))
    return Face(box, min(earlier.score, later.score))
