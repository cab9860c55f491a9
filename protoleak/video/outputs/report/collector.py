"""What a report keeps of a source while it is screened: as much as can be shown, however long it lasts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import cv2

from protoleak.arrays import UInt8Array
from protoleak.runtime.drift import DriftEvent
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent, TrackLabel, TrackVerdict
from protoleak.video.outputs.verdict_style import STYLES

FACES_KEPT = 4  # of a track
TRACKS_KEPT = 60  # with images and plots; the others are counted, and are in tracks.json
POINTS_KEPT = 400  # of a curve: more than a plot has pixels to show
INCIDENTS_KEPT = 100  # gaps, and failures
JPEG_QUALITY = 88

Item = TypeVar("Item")


@dataclass
class Thinned(Generic[Item]):
    """A series that is thinned out evenly as it grows: every `apart`-th item is kept, and always the newest."""

    kept: list[Item] = field(default_factory=list)
    apart: int = 1
    count: int = 0
    newest: Item | None = None

    def add(self, item: Item) -> None:
        if self.count % self.apart == 0:
            self.kept.append(item)
        self.count += 1
        self.newest = item
        if len(self.kept) > POINTS_KEPT:
            self.kept = self.kept[::2]
            self.apart *= 2

    def items(self) -> list[Item]:
        """In order."""
        complete = self.newest is None or (self.kept and self.kept[-1] is self.newest)
        return list(self.kept) if complete or self.newest is None else [*self.kept, self.newest]


@dataclass(frozen=True)
class Point:
    """What one attributed face adds to the plots of its track: its own verdict, and its track's with it."""

    timestamp: float
    label: TrackLabel
    p_value: float
    track_p_value: float
    track_scores: dict[str, float]


@dataclass(frozen=True)
class KeptFace:
    """A face that the report shows.

    Attributes:
        jpeg: the crop as it was attributed.
        worth: its area in the frame times its sharpness.
    """

    jpeg: bytes
    event: FaceEvent
    worth: float


@dataclass
class CollectedTrack:
    """What a report shows of one track.

    Attributes:
        first, last: timestamps between which it was seen, or attributed as long as it has not ended.
        frames: in which it was seen; None as long as it has not ended.
        faces: its best, the best first.
    """

    track: int
    first: float
    last: float
    verdict: TrackVerdict
    frames: int | None = None
    faces: list[KeptFace] = field(default_factory=list)
    points: Thinned[Point] = field(default_factory=Thinned)

    @property
    def rank(self) -> tuple[int, int]:
        """By which it is decided what to show in full: graver verdicts first, then those with more evidence."""
        return STYLES[self.verdict.label].weight, self.verdict.evidence

    @property
    def representative_face(self) -> KeptFace | None:
        """The best face whose own verdict is the track's; the best of all where no kept one's is."""
        same = [face for face in self.faces if face.event.verdict.nearest == self.verdict.nearest]
        agreeing = [face for face in same if face.event.verdict.label == self.verdict.label]
        return next(iter([*agreeing, *same, *self.faces]), None)

    def add(self, event: FaceEvent, crop: UInt8Array | None) -> None:
        """An attributed face."""
        self.last, self.verdict = max(self.last, event.timestamp), event.track_verdict
        own, track = event.verdict, event.track_verdict
        self.points.add(Point(event.timestamp, own.label, own.p_value, track.p_value, track.scores))
        worth = event.box.width * event.box.height * event.sharpness
        if crop is None or (len(self.faces) == FACES_KEPT and worth <= self.faces[-1].worth):
            return
        self.faces = sorted([*self.faces, KeptFace(_jpeg(crop), event, worth)], key=lambda face: -face.worth)
        del self.faces[FACES_KEPT:]


class SourceCollector:
    """Collects what a report shows of one source.

    Attributes:
        tracks: number → track, of those that are shown in full.
        verdicts: label → tracks with it, of all that have ended.
        generators: generator → tracks that name it.
        left_out: tracks that are not shown in full.
        gaps, failures: the first INCIDENTS_KEPT.
        gap_count, failure_count, faces: of all.
        drift: that the images are not like those of the calibration, as soon as that is known.
    """

    def __init__(self) -> None:
        self.tracks: dict[int, CollectedTrack] = {}
        self.verdicts: Counter[str] = Counter()
        self.generators: Counter[str] = Counter()
        self.left_out = 0
        self.gaps: list[GapEvent] = []
        self.failures: list[FailureEvent] = []
        self.gap_count = self.failure_count = self.faces = 0
        self.drift: DriftEvent | None = None

    def add(self, event: Event, crop: UInt8Array | None) -> None:
        """Takes in an event of the stream."""
        if isinstance(event, FaceEvent):
            self.faces += 1
            track = self.tracks.setdefault(
                event.track, CollectedTrack(event.track, event.timestamp, event.timestamp, event.track_verdict)
            )
            track.add(event, crop)
        elif isinstance(event, TrackEvent):
            self._end(event)
        elif isinstance(event, GapEvent):
            self.gap_count += 1
            if len(self.gaps) < INCIDENTS_KEPT:
                self.gaps.append(event)
        elif isinstance(event, DriftEvent):
            self.drift = event
        else:
            self.failure_count += 1
            if len(self.failures) < INCIDENTS_KEPT:
                self.failures.append(event)

    def _end(self, event: TrackEvent) -> None:
        verdict = event.track_verdict
        self.verdicts[verdict.label] += 1
        if verdict.generator is not None:
            self.generators[verdict.generator] += 1
        track = self.tracks.setdefault(
            event.track, CollectedTrack(event.track, event.first_timestamp, event.last_timestamp, verdict)
        )
        track.first, track.last = event.first_timestamp, event.last_timestamp
        track.verdict, track.frames = verdict, event.frames
        ended = [track for track in self.tracks.values() if track.frames is not None]
        if len(ended) > TRACKS_KEPT:
            del self.tracks[min(ended, key=lambda track: track.rank).track]
            self.left_out += 1


def _jpeg(crop: UInt8Array) -> bytes:
    encoded: UInt8Array = cv2.imencode(
        ".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )[1]
    return encoded.tobytes()
