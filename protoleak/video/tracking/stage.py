"""The stage that follows faces over time: finds them in frames, assigns them to tracks, and samples them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Sequence

from protoleak.faces.base import FaceDetector
from protoleak.video.frames import Frame, Gap
from protoleak.video.messages import Decoded, EndOfStream, Tracked, TrackedFrame, TrackedGap, TracksEnded
from protoleak.video.settings import StreamSettings
from protoleak.video.tracking.followed import FollowedFaces
from protoleak.video.tracking.schedule import DetectionSchedule
from protoleak.video.tracking.shot_boundaries import ShotBoundaryDetector
from protoleak.video.tracking.tracker import LOST_SECONDS


class TrackingStage(ABC):
    """One source's faces over time. Used by one thread.

    Args:
        image_size, pending: see `FollowedFaces`.
    """

    def __init__(
        self, detector: FaceDetector, settings: StreamSettings, image_size: int, pending: Container[int]
    ) -> None:
        self._detector, self._every_frame = detector, settings.detect_every == 0
        self._shots = ShotBoundaryDetector()
        self._schedule = DetectionSchedule(settings.detect_every)
        self._followed = FollowedFaces(settings, image_size, pending)

    @property
    def tracks(self) -> int:
        """Begun so far."""
        return self._followed.tracks

    def track(self, message: Decoded) -> Sequence[Tracked]:
        """What a decoded message becomes, after what the messages before it became."""
        if isinstance(message, Frame):
            cut = self._shots.begins_with(message.image if self._every_frame else message.overview)
            return self._frame(message, cut)
        held = self._held()
        if isinstance(message, Gap):
            # A gap ends all tracks, unless it was so short that a face could have been hidden for as long.
            long = message.seconds is None or message.seconds > LOST_SECONDS
            self._schedule.restart()
            return [*held, TrackedGap(message, self._followed.end() if long else [])]
        if isinstance(message, EndOfStream):
            return [*held, TracksEnded(self._followed.end()), message]
        return [*held, message]

    @abstractmethod
    def _frame(self, frame: Frame, cut: bool) -> list[TrackedFrame]:
        """The frames that are done once this one has come; `cut`: it begins another shot."""

    @abstractmethod
    def _held(self) -> list[TrackedFrame]:
        """The frames that have come and are not done yet; nothing that shows the same faces comes after them."""
