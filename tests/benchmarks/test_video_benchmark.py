"""The benchmark of video counts what it says it counts, on small clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import protoleak

pytest.importorskip("av", reason="PyAV reads and writes the videos: pip install 'protoleak[video]'")

from benchmarks.video import Compared, Speed, compare, measure, scaled_clip, targets
from benchmarks.videos.soak import repeated, slope, soak
from benchmarks.videos.tracks import RATE, SECONDS, identity_f1, write_made_clip
from protoleak.faces.open import WholeFrame
from protoleak.images.framing import Box
from protoleak.screener import Screener
from protoleak.video.settings import StreamSettings
from tests.video.sources.media import read, write

FRAMES = 60  # of `write`
WHOLE = StreamSettings(faces="none", every=0.5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "clip.mp4"
    write(path)
    return path


@pytest.fixture(scope="module")
def screener(tiny_bundle: Path) -> Screener:
    return protoleak.load(tiny_bundle, engine="onnxruntime", threads=1)


def test_a_clip_is_measured_frame_by_frame(clip: Path, screener: Screener) -> None:
    speed = measure(screener, WholeFrame(WHOLE.margin), WHOLE, clip)
    assert (speed.width, speed.height, speed.frames) == (96, 64, FRAMES)
    assert speed.face_seconds == pytest.approx(FRAMES / 25)  # the one face is in every frame
    assert speed.verdicts >= 5  # every half second of 2.4
    assert speed.fps > 0


def test_a_clip_is_repeated_with_rising_times(clip: Path, tmp_path: Path) -> None:
    frames, gaps, _ = read(repeated(clip, 150, tmp_path))
    assert len(frames) == 3 * FRAMES  # whole rounds, at least 150
    assert not gaps
    times = [frame.timestamp for frame in frames]
    assert np.diff(times) == pytest.approx(1 / 25, abs=1e-3)  # no jump where it begins anew


def test_a_soak_counts_frames_threads_and_handles(clip: Path, screener: Screener) -> None:
    found = soak(screener, WholeFrame(WHOLE.margin), WHOLE, clip, 130)
    assert found.frames == 3 * FRAMES
    assert [frames for frames, _ in found.resident_mib] == list(range(3, 181, 3))
    assert found.slope is not None
    before, after = found.handles
    if before is not None and after is not None:
        assert after <= before


def test_slope_is_mib_per_thousand_frames() -> None:
    assert slope([(1000 * step, 300.0 + 2 * step) for step in range(5)]) == pytest.approx(2.0)
    assert slope([(10, 1.0)]) is None


def test_a_clip_of_another_size_is_scaled_and_keeps_its_times(clip: Path, tmp_path: Path) -> None:
    assert scaled_clip(clip, (96, 64), tmp_path) == clip
    frames, _, _ = read(scaled_clip(clip, (192, 128), tmp_path))
    assert frames[0].image.shape == (128, 192, 3)
    original, _, _ = read(clip)
    assert [frame.timestamp for frame in frames] == pytest.approx([frame.timestamp for frame in original], abs=1e-3)


def test_a_target_that_is_missed_says_so() -> None:
    speed = Speed(
        width=640,
        height=360,
        frames=275,
        frames_detected=60,
        seconds=10.0,
        fps=27.5,
        cpu_seconds={},
        cpu_seconds_elsewhere=0.0,
        latency=None,
        verdicts=12,
        face_seconds=10.0,
    )
    one = Compared(
        way="default",
        speed=speed,
        fps_ratio=1.0,
        cpu_ratio=1.0,
        identity_f1=0.97,
        verdicts=(12, 12),
        same_input=12,
        track_labels=({}, {}),
    )
    assert [(number, met) for _, number, _, met in targets([one])] == [(27.5, False), (1.2, True), (0.97, False)]


def test_ways_are_compared_with_the_first(clip: Path, screener: Screener) -> None:
    detector = WholeFrame(WHOLE.margin)
    first, second = compare(
        screener,
        {"every frame": (detector, replace(WHOLE, detect_every=0.0)), "default": (detector, WHOLE)},
        clip,
        rounds=1,
    )
    assert (first.fps_ratio, first.cpu_ratio, first.identity_f1) == (1.0, 1.0, 1.0)
    assert first.speed.frames_detected == FRAMES
    assert second.speed.frames_detected < FRAMES / 2
    assert second.identity_f1 == 1.0  # the middle of the frame is where it was
    assert second.same_input == second.verdicts[0] == second.verdicts[1]


def test_idf1_counts_the_boxes_that_the_same_track_has_on_both_sides() -> None:
    def at(left: float) -> Box:
        return Box(left, 0.0, 10.0, 10.0)

    reference = [[(1, at(0)), (2, at(50))] for _ in range(10)]
    assert identity_f1(reference, [[(7, box) for _, box in frame[:1]] + [(3, frame[1][1])] for frame in reference]) == 1
    assert identity_f1(reference, [frame[:1] for frame in reference]) == pytest.approx(2 * 10 / 30)
    swapped = reference[:5] + [[(2, at(0)), (1, at(50))] for _ in range(5)]
    assert identity_f1(reference, swapped) == 0.5
    assert identity_f1(reference, [[(1, at(6)), (2, at(44))] for _ in range(10)]) == 0  # 4/16 of each box
    assert identity_f1([[], []], [[], []]) == 1


def test_the_made_clip_has_faces_that_move(tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    write_made_clip(tmp_path / "made.mp4", [image], (96, 54))
    frames, _, _ = read(tmp_path / "made.mp4")
    assert len(frames) == RATE * SECONDS
    assert np.abs(frames[30].image.astype(int) - frames[40].image).mean() > 3
