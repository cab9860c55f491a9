"""A track's verdict: scores averaged, p-values merged so that alpha holds however dependent the frames are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protoleak
from protoleak.metrics.merging import merged_p_value
from protoleak.runtime.verdict import Verdict
from protoleak.video.events import TrackVerdict
from protoleak.video.tracking.evidence import TrackEvidence
from tests.tiny_bundle import make_image

ALPHA, TRIALS = 0.05, 4_000
ACCUSATION = 0.02  # of a track as of a face
SAMPLING = 4 * np.sqrt(ALPHA * (1 - ALPHA) / TRIALS)  # four standard deviations of a rate of alpha in so many trials


@pytest.fixture(scope="module")
def verdict(tiny_bundle: Path) -> Verdict:
    return protoleak.load(tiny_bundle, threads=1)(make_image(0, 1))[0]


def track_verdict_of(
    verdict: Verdict,
    faces: list[tuple[float, dict[str, float]]],
    minimum: int = 1,
    real: str | None = "camera",
    real_p_value: float | None = 0.01,
    generated_p_value: float | None = None,
) -> TrackVerdict:
    evidence = TrackEvidence(ALPHA, minimum, real, ACCUSATION)
    for p_value, scores in faces:
        face = msgspec.structs.replace(
            verdict,
            p_value=p_value,
            scores=scores,
            real_p_value=real_p_value,
            accusation_level=ACCUSATION,
            generated_p_value=generated_p_value,
            acquittal_level=None if generated_p_value is None else ALPHA,
        )
        evidence.add(face)
    return evidence.verdict()


def dependent_p_values(kind: str, faces: int) -> np.ndarray:
    """float64 [TRIALS, faces]; each column is uniform on (0, 1)."""
    generator = np.random.default_rng([5, faces])
    if kind == "equal":
        return np.repeat(generator.random((TRIALS, 1)), faces, axis=1)
    if kind == "independent":
        return generator.random((TRIALS, faces))
    if kind == "nearly equal":  # neighbouring frames: a Gaussian copula with correlation 0.95
        from math import erf, sqrt

        common, own = generator.standard_normal((TRIALS, 1)), generator.standard_normal((TRIALS, faces))
        normal = sqrt(0.95) * common + sqrt(0.05) * own
        return 0.5 * (1 + np.vectorize(erf)(normal / sqrt(2)))
    # Against the mean: mirrored below alpha, so that whenever one is small their mean is at its threshold.
    first = generator.random((TRIALS, 1))
    mirrored = np.where(first <= ALPHA, ALPHA - first, first)
    return np.where(np.arange(faces) % 2 == 0, first, mirrored)


@pytest.mark.parametrize("faces", [2, 10])
@pytest.mark.parametrize("kind", ["equal", "nearly equal", "independent", "mirrored"])
def test_known_tracks_are_called_unknown_at_most_at_rate_alpha(kind: str, faces: int) -> None:
    p_values = dependent_p_values(kind, faces)
    assert np.mean(p_values <= ALPHA, axis=0) == pytest.approx(ALPHA, abs=SAMPLING)  # each alone is a p-value
    merged = np.array([merged_p_value(Counter(row)) for row in p_values.tolist()])
    assert np.mean(merged <= ALPHA) <= ALPHA + SAMPLING


def test_the_plain_mean_would_break_the_promise_and_twice_it_does_not() -> None:
    # Mirrored in [0, 2·alpha] the mean of two is alpha whenever either is below 2·alpha: the plain mean rejects 10 %.
    first = np.random.default_rng(6).random(TRIALS)
    second = np.where(first <= 2 * ALPHA, 2 * ALPHA - first, first)
    mean = (first + second) / 2
    assert np.mean(mean <= ALPHA + 1e-12) > 1.7 * ALPHA
    assert np.mean(2 * mean <= ALPHA + 1e-12) <= ALPHA + SAMPLING


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(1e-3, 1.0), st.fixed_dictionaries(dict.fromkeys(("dawn", "moss", "camera"), st.floats(-9, 9)))
        ),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_the_verdict_does_not_depend_on_the_order_of_the_faces_and_is_consistent(
    verdict: Verdict, faces: list[tuple[float, dict[str, float]]], shuffler: object
) -> None:
    merged = track_verdict_of(verdict, faces)
    shuffled = list(faces)
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]
    other = track_verdict_of(verdict, shuffled)
    assert other.p_value == pytest.approx(merged.p_value)
    assert other.scores == pytest.approx(merged.scores)
    assert merged.evidence == len(faces)
    assert (merged.label == "unknown") == (merged.p_value <= ALPHA)
    assert (merged.generator is not None) == (merged.label == "known")
    assert merged.nearest == max(merged.scores, key=lambda name: merged.scores[name])
    for name, score in merged.scores.items():
        assert score == pytest.approx(np.mean([scores[name] for _, scores in faces]))


def test_one_face_with_a_minimum_of_one_differs_from_its_own_verdict_only_in_the_doubled_p_value(
    verdict: Verdict,
) -> None:
    merged = track_verdict_of(verdict, [(0.4, verdict.scores)])
    assert (merged.label, merged.generator, merged.nearest) == ("known", verdict.nearest, verdict.nearest)
    assert (merged.scores, merged.p_value) == (verdict.scores, 0.8)


def test_real_is_said_of_the_real_class_only(verdict: Verdict) -> None:
    faces = [(0.9, {"dawn": 1.0, "camera": 2.0}), (0.9, {"dawn": 1.5, "camera": 1.0})]
    assert track_verdict_of(verdict, faces).label == "real"
    assert track_verdict_of(verdict, faces).generator is None
    assert track_verdict_of(verdict, faces, real=None).generator == "camera"


def test_nothing_is_decided_below_the_minimum_evidence(verdict: Verdict) -> None:
    nothing = TrackEvidence(ALPHA, 2, None, None).verdict()
    assert nothing == TrackVerdict(
        label="undecided",
        generator=None,
        nearest=None,
        p_value=1.0,
        real_p_value=None,
        generated_p_value=None,
        e_value=0.0,
        real_e_value=None,
        generated_e_value=None,
        evidence=0,
        scores={},
    )
    one = track_verdict_of(verdict, [(0.001, {"dawn": 1.0})], minimum=2)
    assert (one.label, one.generator, one.nearest) == ("undecided", None, "dawn")
    assert track_verdict_of(verdict, [(0.001, {"dawn": 1.0})] * 2, minimum=2).label == "unknown"


@pytest.mark.parametrize(
    ("real_p_value", "merged", "label"),
    [(0.01, 0.02, "known"), (0.0101, 0.0202, "unknown"), (None, None, "known")],
)
def test_a_generator_is_named_only_for_a_track_that_is_unusual_among_camera_originals(
    verdict: Verdict, real_p_value: float | None, merged: float | None, label: str
) -> None:
    faces = [(0.4, {"dawn": 2.0, "camera": 1.0})] * 3
    track = track_verdict_of(verdict, faces, real_p_value=real_p_value)
    assert (track.label, track.real_p_value) == (label, merged if merged is None else pytest.approx(merged))


@pytest.mark.parametrize(
    ("generated_p_value", "merged", "label"),
    [(0.05, 0.1, "real"), (0.051, 0.102, "unknown"), (0.6, 1.0, "unknown"), (None, None, "real")],
)
def test_real_is_said_only_of_a_track_that_is_more_camera_like_than_generated_images(
    verdict: Verdict, generated_p_value: float | None, merged: float | None, label: str
) -> None:
    faces = [(0.4, {"dawn": 1.0, "camera": 2.0})] * 3
    track = track_verdict_of(verdict, faces, generated_p_value=generated_p_value)
    assert (track.label, track.generated_p_value) == (label, merged if merged is None else pytest.approx(merged))


@pytest.mark.parametrize("faces", [2, 10])
@pytest.mark.parametrize("kind", ["equal", "nearly equal", "independent", "mirrored"])
def test_generated_tracks_are_called_real_at_most_at_twice_the_level(kind: str, faces: int) -> None:
    p_values = dependent_p_values(kind, faces)
    merged = np.array([merged_p_value(Counter(row)) for row in p_values.tolist()])
    assert np.mean(merged <= 2 * ALPHA) <= 2 * ALPHA + 2 * SAMPLING


def test_faces_that_hold_too_little_are_no_evidence_and_change_nothing(verdict: Verdict) -> None:
    evidence = TrackEvidence(ALPHA, 1, "camera", ACCUSATION)
    lacking = msgspec.structs.replace(verdict, lacking="without content", p_value=0.001, real_p_value=None)
    evidence.add(lacking)
    assert (evidence.verdict().label, evidence.verdict().evidence) == ("undecided", 0)
    evidence.add(verdict)
    with_one = evidence.verdict()
    evidence.add(lacking)
    assert evidence.verdict() == with_one
    assert with_one.evidence == 1


def test_a_track_is_named_though_one_of_its_faces_says_nothing(verdict: Verdict) -> None:
    """Twice the mean, which tracks had before, would be 0.2 and withhold the name."""
    evidence = TrackEvidence(ALPHA, 3, "camera", ACCUSATION)
    for real_p_value in [0.001] * 9 + [1.0]:
        face = {"p_value": 0.4, "real_p_value": real_p_value, "scores": {"dawn": 2.0, "camera": 1.0}}
        evidence.add(msgspec.structs.replace(verdict, **face))
    merged = evidence.verdict()
    assert (merged.label, merged.generator) == ("known", "dawn")
    assert merged.real_p_value == pytest.approx(0.00225)


def test_e_values_grow_with_every_face_that_is_unusual_and_never_fall(verdict: Verdict) -> None:
    evidence = TrackEvidence(ALPHA, 3, "camera", ACCUSATION)
    seen = []
    for real_p_value in [0.001] * 8 + [1.0] * 3:
        evidence.add(msgspec.structs.replace(verdict, p_value=0.4, real_p_value=real_p_value, generated_p_value=None))
        seen.append(evidence.verdict())
    e_values = [merged.real_e_value for merged in seen]
    assert e_values == sorted(e_values)
    assert e_values[0] < 1 / ACCUSATION <= e_values[7] == e_values[-1]
    assert (seen[-1].e_value, seen[-1].generated_e_value) == (0.0, None)
