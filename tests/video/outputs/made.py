"""Sources, frames and events as a stream gives them, for what is written of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np

from protoleak.faces.base import BoxRecord
from protoleak.images.framing import Box
from protoleak.runtime.engines.base import EngineDescription
from protoleak.runtime.verdict import (
    BundleRecord,
    CalibrationGroup,
    Feature,
    InputRecord,
    NearestPrototype,
    Verdict,
    Why,
)
from protoleak.video.events import FaceEvent, TrackEvent, TrackLabel, TrackVerdict
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.outputs.run_record import RealFacesAccused, RunRecord
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Percentiles, Statistics

ENGINE = EngineDescription("onnxruntime", "CPU", {"onnxruntime": "1.2"}, {"batch": "one image at a time"})
BUNDLE = BundleRecord("tiny", "b" * 64, "fp32")
RUN = RunRecord(
    created="2026-01-01T00:00:00+00:00",
    bundle=BUNDLE,
    engine=ENGINE,
    generators=["dawn", "moss", "camera"],
    real_class="camera",
    real_faces_accused=RealFacesAccused(3, 40),
    alpha=0.05,
    settings={"every": 1.0, "minimum_evidence": 3},
    face_finder="YuNet, model.onnx",
    libraries={"numpy": "2.0"},
)


def info(
    name: str = "clip.mp4", *, live: bool = False, rate: Fraction | None = Fraction(25), duration: float | None = 2.0
) -> SourceInfo:
    return SourceInfo(name, "network" if live else "file", live, 64, 48, rate, duration, None if live else "a" * 64)


def frame(index: int, timestamp: float, height: int = 48, width: int = 64) -> Frame:
    image = np.full((height, width, 3), (index * 37 % 256, 90, 160), np.uint8)
    image.flags.writeable = False
    return Frame(index, timestamp, image, captured=0.0)


def track_verdict(
    verdict: TrackLabel = "known", evidence: int = 3, p_value: float = 0.4, real_p_value: float = 0.02
) -> TrackVerdict:
    return TrackVerdict(
        label=verdict,
        generator="dawn" if verdict == "known" else None,
        nearest={"real": "camera"}.get(verdict, "dawn"),
        p_value=p_value,
        real_p_value=real_p_value,
        generated_p_value=None,
        e_value=0.5,
        real_e_value=30.0,
        generated_e_value=None,
        evidence=evidence,
        scores={"dawn": -1.0 - evidence / 10, "moss": -4.0, "camera": -6.5},
    )


def face(
    timestamp: float,
    track: int = 1,
    *,
    source: str = "clip.mp4",
    label: Literal["known", "real", "unknown"] = "known",
    of_track: TrackVerdict | None = None,
    sharpness: float = 30.0,
) -> FaceEvent:
    of_track = of_track or track_verdict(label)
    verdict = Verdict(
        source=None,
        label=label,
        generator="dawn" if label == "known" else None,
        nearest=of_track.nearest or "dawn",
        p_value=0.02 if label == "unknown" else 0.35,
        real_p_value=0.3 if label == "real" else 0.01,
        accusation_level=0.01,
        generated_p_value=None,
        acquittal_level=None,
        alpha=0.05,
        calibration=CalibrationGroup("generator", 60),
        log_density=-12.5,
        scores={"dawn": -1.0, "moss": -4.0, "camera": -6.5},
        probabilities=None,
        why=Why(
            nearest_prototype=NearestPrototype("dawn", 1, 2.5),
            runner_up=NearestPrototype("moss", 0, 7.5),
            timestep_weights={0: 0.7, 200: 0.3},
            look_weights={"face": 0.6, "image": 0.4},
            features_for=[Feature(4, 1.5), Feature(9, 0.4)],
            features_against=[Feature(2, -0.3)],
        ),
        notes=[],
        lacking=None,
        input=InputRecord("c" * 64, "pixels", 64 * 64 * 3, 64, 64),
        bundle=BUNDLE,
        engine=ENGINE,
        milliseconds={"attributor": 1.0},
    )
    return FaceEvent(
        source=source,
        frame=round(timestamp * 25),
        timestamp=timestamp,
        track=track,
        box=BoxRecord(10.0, 8.0, 24.0, 30.0),
        face_score=0.9,
        sharpness=sharpness,
        verdict=verdict,
        track_verdict=of_track,
        latency=0.05,
    )


def ended(track: int = 1, verdict: TrackVerdict | None = None, *, source: str = "clip.mp4") -> TrackEvent:
    return TrackEvent(
        source=source,
        track=track,
        first_frame=0,
        last_frame=49,
        first_timestamp=0.0,
        last_timestamp=1.96,
        frames=50,
        frames_detected=20,
        track_verdict=verdict or track_verdict(),
    )


def crop(seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def seen(track: int = 1, verdict: TrackVerdict | None = None, box: Box | None = None) -> TrackedFace:
    return TrackedFace(track, box or Box(20, 14, 24, 26), verdict or track_verdict())


def statistics(source: str = "clip.mp4", *, live: bool = False, interrupted: bool = False) -> Statistics:
    return Statistics(
        source=source,
        live=live,
        frames_in=60,
        frames_processed=50,
        frames_dropped=10 if live else 0,
        faces=50,
        attributed=3,
        tracks=1,
        gaps=0,
        failures=0,
        seconds=2.0,
        media_seconds=1.96,
        fps_in=30.0,
        fps_processed=25.0,
        queues={},
        latency=Percentiles(0.05, 0.06, 0.07, 3),
        cpu_seconds={"read": 0.1},
        resident_mib=200.0,
        interrupted=interrupted,
    )
