"""The stage that looks at every frame: finds faces, links them to tracks, and says which are due."""

from __future__ import annotations

from protoleak.faces.base import FaceDetector
from protoleak.faces.crops import face_crop, sharpness
from protoleak.video.frames import Frame, Gap
from protoleak.video.messages import DueFace, Looked
from protoleak.video.settings import StreamSettings
from protoleak.video.tracking.sampling import DueRule
from protoleak.video.tracking.shot_boundaries import CutFinder
from protoleak.video.tracking.tracker import LOST_SECONDS, Linker
from protoleak.video.waiting import WaitingFaces


class Looker:
    """One source's faces over time. Used by one thread.

    Args:
        image_size: side of the network's input, in pixels.
        waiting: of a live source, the due faces that the engine hasn't come to: while one of a track waits there, the
            newest image of that track is due as well, and takes its place.
    """

    def __init__(
        self, detector: FaceDetector, settings: StreamSettings, image_size: int, waiting: WaitingFaces | None
    ) -> None:
        self._detector, self._settings, self._image_size = detector, settings, image_size
        self._waiting = waiting
        self._cuts = CutFinder()
        self._linker = Linker()
        self._rules: dict[int, DueRule] = {}

    @property
    def tracks(self) -> int:
        """Begun so far."""
        return self._linker.begun

    def look(self, frame: Frame) -> Looked:
        """Everything that this frame shows."""
        ended = self.end() if self._cuts.cut(frame.image) else []
        linked = self._linker.link(frame.timestamp, self._detector(frame.image))
        for track in linked.ended:
            del self._rules[track]
        due = []
        for track, face in linked.faces:
            rule = self._rules.setdefault(track, DueRule(self._settings.every))
            crop = face_crop(frame.image, face.box, self._settings.margin)
            side, sharp = max(face.box.width, face.box.height), sharpness(crop, self._image_size)
            replaces = self._waiting is not None and track in self._waiting
            if replaces or rule.due(frame.timestamp, side, sharp):
                rule.took(frame.timestamp, side, sharp)
                due.append(DueFace(track, frame, face, crop, sharp))
        return Looked(frame, [(track, face.box) for track, face in linked.faces], due, ended + linked.ended)

    def gap(self, gap: Gap) -> list[int]:
        """Tracks that a gap ends: all, unless it was so short that a face could have been hidden for as long."""
        return self.end() if gap.seconds is None or gap.seconds > LOST_SECONDS else []

    def end(self) -> list[int]:
        """Ends all open tracks and returns their numbers."""
        self._rules.clear()
        return self._linker.interrupt()
