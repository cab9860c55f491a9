"""What the pipeline says as it goes: the values that `screener.stream` yields and every output is written from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from protoleak.faces.base import BoxRecord
from protoleak.runtime.drift import DriftEvent
from protoleak.runtime.verdict import Verdict

TrackLabel: TypeAlias = Literal["known", "real", "unknown", "undecided"]


class TrackVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a track so far. In JSON `label` is called "verdict".

    Attributes:
        label: "undecided" until `evidence` reaches the minimum that was asked for; then as for one image.
        generator: named only when known.
        nearest: the class with the highest mean score; None before the first attributed face.
        p_value: the faces' p-values, merged by the admissible improvement of twice their mean: valid whatever the
            dependence between frames (`metrics.merging`). 1 before the first attributed face.
        real_p_value: the faces' p-values among camera originals, merged alike; a generator is named only where it is at
            most the accusation level of tracks (`runtime.conformal.track_accusation_level`). None before the first
            attributed face, and for a bundle without camera originals.
        generated_p_value: the faces' p-values among images by generators, merged alike; `real` is said only where it is
            at most twice the faces' acquittal level. None as for the one before.
        e_value: evidence that no generator or camera that the bundle knows made the images. It never falls, and reaches
            1/α, at any moment of a track and whatever the dependence between frames, with probability at most α if one
            did. 0 before the first attributed face.
        real_e_value: evidence that no camera like those of the calibration took them; at 1 over the accusation level of
            tracks it may be accused at any moment. None as for `real_p_value`.
        generated_e_value: evidence that no generator made them; 1 over twice the acquittal level is enough. None alike.
        evidence: number of attributed faces that held enough to judge.
        scores: class → mean of the head's scores.
    """

    label: TrackLabel = msgspec.field(name="verdict")
    generator: str | None
    nearest: str | None
    p_value: float
    real_p_value: float | None
    generated_p_value: float | None
    e_value: float
    real_e_value: float | None
    generated_e_value: float | None
    evidence: int
    scores: dict[str, float]


class FaceEvent(msgspec.Struct, frozen=True, kw_only=True, tag="face"):
    """One face was attributed, which the detector found in this very frame. A line of verdicts.jsonl.

    Attributes:
        source: as given.
        frame: index of the frame in its source.
        timestamp: that frame's own, in seconds since the source's first frame.
        track: number of the track, from 1, unique within a source.
        box: the face in the frame.
        face_score: the detector's confidence.
        sharpness: variance of the Laplacian of the crop, as it went into the network.
        verdict: for this face alone; its `source` is None, its `input` is the crop's pixels.
        track_verdict: for the track with this face in it.
        latency: seconds from capture to verdict.
    """

    source: str
    frame: int
    timestamp: float
    track: int
    box: BoxRecord
    face_score: float
    sharpness: float
    verdict: Verdict
    track_verdict: TrackVerdict
    latency: float


class TrackEvent(msgspec.Struct, frozen=True, kw_only=True, tag="track"):
    """A track ended: its face was gone for too long, or the source ended. An entry of tracks.json.

    Attributes:
        first_timestamp, last_timestamp: of the frames in which the face was first and last seen.
        frames: in how many frames it was seen.
        frames_detected: in how many of them the detector found it; in the others it was followed.
        track_verdict: final.
    """

    source: str
    track: int
    first_frame: int
    last_frame: int
    first_timestamp: float
    last_timestamp: float
    frames: int
    frames_detected: int
    track_verdict: TrackVerdict


class GapEvent(msgspec.Struct, frozen=True, kw_only=True, tag="gap"):
    """A stretch without usable images. See `frames.Gap`."""

    source: str
    timestamp: float
    seconds: float | None
    reason: str


class FailureEvent(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """A source could not be read (further), or a face could not be judged; the others go on."""

    source: str
    message: str
    timestamp: float | None = None


Event: TypeAlias = FaceEvent | TrackEvent | GapEvent | FailureEvent | DriftEvent
