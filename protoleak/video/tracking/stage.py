"""The stage that follows faces over time: finds them in every frame, assigns them to tracks, and samples them."""

from __future__ import annotations

from collections.abc import Container

from protoleak.faces.base import FaceDetector
from protoleak.faces.crops import face_crop, sharpness
from protoleak.video.frames import Frame, Gap
from protoleak.video.messages import Decoded, EndOfStream, SampledFace, Tracked, TrackedFrame, TrackedGap, TracksEnded
from protoleak.video.settings import StreamSettings
from protoleak.video.tracking.sampling import SamplingRule
from protoleak.video.tracking.shot_boundaries import ShotBoundaryDetector
from protoleak.video.tracking.tracker import LOST_SECONDS, Tracker


class TrackingStage:
    """One source's faces over time. Used by one thread.

    Args:
        image_size: side of the network's input, in pixels.
        pending: see `Scheduler.pending`: while a face of a track is pending, the newest image of that track is sampled
            as well, and takes its place.
    """

    def __init__(
        self, detector: FaceDetector, settings: StreamSettings, image_size: int, pending: Container[int]
    ) -> None:
        self._detector, self._settings, self._image_size = detector, settings, image_size
        self._pending = pending
        self._shots = ShotBoundaryDetector()
        self._tracker = Tracker()
        self._rules: dict[int, SamplingRule] = {}

    @property
    def tracks(self) -> int:
        """Begun so far."""
        return self._tracker.begun

    def track(self, message: Decoded) -> list[Tracked]:
        """What a decoded message becomes."""
        if isinstance(message, Frame):
            return [self.frame(message)]
        if isinstance(message, Gap):
            # A gap ends all tracks, unless it was so short that a face could have been hidden for as long.
            long = message.seconds is None or message.seconds > LOST_SECONDS
            return [TrackedGap(message, self._end() if long else [])]
        if isinstance(message, EndOfStream):
            return [TracksEnded(self._end()), message]
        return [message]

    def frame(self, frame: Frame) -> TrackedFrame:
        """A frame's faces with their tracks, and those that are to be attributed."""
        ended = self._end() if self._shots.begins_with(frame.image) else []
        tracked = self._tracker.update(frame.timestamp, self._detector(frame.image))
        for track in tracked.ended:
            del self._rules[track]
        sampled = []
        for track, face in tracked.faces:
            rule = self._rules.setdefault(track, SamplingRule(self._settings.every))
            crop = face_crop(frame.image, face.box, self._settings.margin)
            side, sharp = max(face.box.width, face.box.height), sharpness(crop, self._image_size)
            if track in self._pending or rule.wants(frame.timestamp, side, sharp):
                rule.took(frame.timestamp, side, sharp)
                sampled.append(SampledFace(track, frame, face, crop, sharp))
        return TrackedFrame(frame, [(track, face.box) for track, face in tracked.faces], sampled, ended + tracked.ended)

    def _end(self) -> list[int]:
        """Ends all open tracks and returns their numbers."""
        self._rules.clear()
        return self._tracker.interrupt()
