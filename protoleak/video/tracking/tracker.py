"""Which face of this frame is which of the frames before: overlap with where each face should be by now.

Tracker libraries were tried first. norfair (2.3) needs scipy and filterpy and forbids rich 15; motpy (0.0.10) needs
scipy and filterpy and is an alpha; trackers (2.6) needs scipy, supervision, requests, and opencv-python, which installs
over the headless one. What a handful of faces at video rate needs is below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from protoleak.faces.base import Face
from protoleak.images.framing import Box

MINIMUM_OVERLAP = 0.25  # two equal boxes moved apart by 0.6 of their width
LOST_SECONDS = 1.0  # a turned head or a hand before the face; after it, somebody else may stand there
LOST_FRAMES = 3  # and this many frames without it, so that a source of one frame a second has tracks too
PREDICTED_SECONDS = 0.5  # a face that moved steadily so far seldom does for longer
NEW_SHARE = 0.5  # of the newest displacement in the velocity: detectors jitter by some pixels from frame to frame


@dataclass(frozen=True)
class TrackedFaces:
    """One frame's faces by track, and the tracks that are over.

    Attributes:
        faces: (number of the track, face), in the order of the faces.
        ended: numbers of tracks that no later frame will continue.
    """

    faces: list[tuple[int, Face]]
    ended: list[int]


@dataclass(frozen=True)
class _Track:
    """An open track: its newest box, how fast its centre moves in pixels per second, and how long it is gone."""

    number: int
    box: Box
    velocity: tuple[float, float]
    seen: float
    missed: int = 0

    def expected(self, timestamp: float) -> Box:
        ahead = min(max(timestamp - self.seen, 0.0), PREDICTED_SECONDS)
        across, down = self.velocity
        return replace(self.box, left=self.box.left + across * ahead, top=self.box.top + down * ahead)

    def moved(self, box: Box, timestamp: float) -> _Track:
        elapsed, velocity = timestamp - self.seen, self.velocity
        if elapsed > 0:
            newest = [(after - before) / elapsed for before, after in zip(_centre(self.box), _centre(box), strict=True)]
            across, down = (NEW_SHARE * new + (1 - NEW_SHARE) * old for new, old in zip(newest, velocity, strict=True))
            velocity = across, down
        return _Track(self.number, box, velocity, timestamp)


class Tracker:
    """Assigns the faces of one source's frames to tracks.

    Greedily, by falling intersection over union with the box that a constant velocity predicts. A face that overlaps no
    open track begins a new one.
    """

    def __init__(self) -> None:
        self._open: list[_Track] = []
        self.begun = 0

    def update(self, timestamp: float, faces: Sequence[Face]) -> TrackedFaces:
        """The tracks of one frame's faces.

        Args:
            timestamp: in seconds, not below that of the frame before.
            faces: all that were found in the frame.
        """
        expected = [track.expected(timestamp) for track in self._open]
        track_of = dict(matches(expected, [face.box for face in faces], MINIMUM_OVERLAP))
        follower = {track: face for face, track in track_of.items()}
        kept, ended = [], []
        for index, track in enumerate(self._open):
            if index in follower:
                kept.append(track.moved(faces[follower[index]].box, timestamp))
                continue
            missing = replace(track, missed=track.missed + 1)
            over = timestamp - track.seen > LOST_SECONDS and missing.missed >= LOST_FRAMES
            ended.append(track.number) if over else kept.append(missing)
        numbers = {face: self._open[track].number for face, track in track_of.items()}
        for index, face in enumerate(faces):
            if index not in numbers:
                self.begun += 1
                numbers[index] = self.begun
                kept.append(_Track(self.begun, face.box, (0.0, 0.0), timestamp))
        self._open = kept
        return TrackedFaces([(numbers[index], face) for index, face in enumerate(faces)], ended)

    @property
    def in_view(self) -> list[int]:
        """The numbers of the tracks that had a face in the newest frame."""
        return [track.number for track in self._open if track.missed == 0]

    def expected(self, timestamp: float) -> list[tuple[int, Box]]:
        """(number of the track, box) of the newest frame's faces, where they should be at this time, in seconds."""
        return [(track.number, track.expected(timestamp)) for track in self._open if track.missed == 0]

    def moved(self, box: Box, start: float, end: float) -> Box:
        """Where the face of a box at one time should be at another, both in seconds, if it goes on as its track did; a
        face that no track expects there is taken to stay."""
        candidates = [(overlap(box, track.expected(start)), track) for track in self._open]
        share, track = max(candidates, key=lambda one: one[0], default=(0.0, None))
        if track is None or share < MINIMUM_OVERLAP:
            return box
        (across, down), ahead = track.velocity, min(end - start, PREDICTED_SECONDS)
        return replace(box, left=box.left + across * ahead, top=box.top + down * ahead)

    def interrupt(self) -> list[int]:
        """Ends all open tracks, as after a gap in which anything may have happened; returns their numbers."""
        ended = [track.number for track in self._open]
        self._open = []
        return ended


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(first.left + first.width, second.left + second.width) - max(first.left, second.left)
    height = min(first.top + first.height, second.top + second.height) - max(first.top, second.top)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (first.area + second.area - width * height)


def matches(expected: Sequence[Box], found: Sequence[Box], least: float) -> Iterator[tuple[int, int]]:
    """Which box is which of other boxes: (place in `found`, place in `expected`) by falling overlap.

    Greedy differs from the best assignment only where faces cover each other.

    Args:
        least: overlap below which two boxes are not of one face.
    """
    pairs = [
        (share, face, track)
        for face, box in enumerate(found)
        for track, other in enumerate(expected)
        if (share := overlap(box, other)) >= least
    ]
    faces, tracks = set[int](), set[int]()
    for _, face, track in sorted(pairs, key=lambda pair: (-pair[0], pair[2], pair[1])):
        if face not in faces and track not in tracks:
            faces.add(face)
            tracks.add(track)
            yield face, track


def _centre(box: Box) -> tuple[float, float]:
    return box.left + box.width / 2, box.top + box.height / 2
