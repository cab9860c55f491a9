"""The faces of one source with their tracks, and which of them are to be attributed."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from protoleak.faces.base import Face
from protoleak.faces.crops import face_crop, sharpness
from protoleak.images.framing import Box
from protoleak.video.frames import Frame
from protoleak.video.messages import SampledFace, TrackedFrame
from protoleak.video.settings import StreamSettings
from protoleak.video.tracking.sampling import SamplingRule
from protoleak.video.tracking.tracker import Tracker, overlap

FORESEEN = 0.8  # overlap of a face with where it was expected; below it, its next place is anybody's guess


class FollowedFaces:
    """Used by one thread, with every frame of a source in order.

    A face is attributed only where the detector found it in that frame: the look at a face is cut out by its box.

    Args:
        image_size: side of the network's input, in pixels.
        pending: see `Scheduler.pending`: while a face of a track is pending, the newest image of that track is sampled
            as well, and takes its place.

    Attributes:
        foreseen: whether the newest detected faces were those of the detected frame before, each where its track was
            expected.
    """

    def __init__(self, settings: StreamSettings, image_size: int, pending: Container[int]) -> None:
        self._settings, self._image_size, self._pending = settings, image_size, pending
        self._tracker = Tracker()
        self._rules: dict[int, SamplingRule] = {}
        self.foreseen = False

    @property
    def tracks(self) -> int:
        """Begun so far."""
        return self._tracker.begun

    def due(self, timestamp: float) -> bool:
        """Whether a face that is in view is to be attributed by now, wherever it is."""
        return any(self._rule(track).due(timestamp) for track in self._tracker.in_view)

    def detected(self, frame: Frame, faces: Sequence[Face], ended: Sequence[int] = ()) -> TrackedFrame:
        """A frame with the faces that the detector found in it; those that are to be attributed are sampled.

        Args:
            ended: tracks that are over since the frame before.
        """
        expected = dict(self._tracker.expected(frame.timestamp))
        tracked = self._tracker.update(frame.timestamp, faces)
        found = {track: face.box for track, face in tracked.faces}
        self.foreseen = expected.keys() == found.keys() and all(
            overlap(found[track], box) >= FORESEEN for track, box in expected.items()
        )
        self._forget(tracked.ended)
        sampled = []
        for track, face in tracked.faces:
            rule = self._rule(track)
            crop = face_crop(frame.image, face.box, self._settings.margin)
            side, sharp = max(face.box.width, face.box.height), sharpness(crop, self._image_size)
            if track in self._pending or rule.wants(frame.timestamp, side, sharp):
                rule.took(frame.timestamp, side, sharp)
                sampled.append(SampledFace(track, frame, face, np.array(crop), sharp))
        return TrackedFrame(frame, list(found.items()), sampled, [*ended, *tracked.ended])

    def between(self, frame: Frame, faces: Sequence[Face]) -> TrackedFrame:
        """A frame with faces that lie between those of detected frames before and after it."""
        tracked = self._tracker.update(frame.timestamp, faces)
        self._forget(tracked.ended)
        boxes = [(track, face.box) for track, face in tracked.faces]
        return TrackedFrame(frame, boxes, [], tracked.ended, detected=False)

    def expected(self, frame: Frame) -> TrackedFrame:
        """A frame with the faces of the detected frame before it, where they should be by now."""
        return TrackedFrame(frame, self._tracker.expected(frame.timestamp), [], [], detected=False)

    def moved(self, box: Box, start: float, end: float) -> Box:
        """See `Tracker.moved`."""
        return self._tracker.moved(box, start, end)

    def end(self) -> list[int]:
        """Ends all open tracks and returns their numbers."""
        self._rules.clear()
        return self._tracker.interrupt()

    def _rule(self, track: int) -> SamplingRule:
        return self._rules.setdefault(track, SamplingRule(self._settings.every))

    def _forget(self, tracks: Sequence[int]) -> None:
        for track in tracks:
            self._rules.pop(track, None)
