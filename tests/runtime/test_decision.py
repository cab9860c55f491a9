"""The decision: known, real or unknown, and reasons that add up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.manifest import Manifest
from protoleak.errors import CalibrationError
from protoleak.runtime.conformal import accusation_level, acquittal_level
from protoleak.runtime.decision import DecisionRule, Evidence, Levels, explain, label_of

CALIBRATION = Calibration(
    overall=np.arange(60, dtype=np.float64),
    per_generator=(np.arange(100, 140.0), np.arange(19.0), np.arange(5.0)),
    temperature=None,
)


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    """Generators dawn and moss, and the real class camera."""
    return Bundle.load(tiny_bundle).manifest


@pytest.mark.parametrize(
    ("scores", "log_density", "verdict", "generator", "nearest", "group", "n"),
    [
        ([3.0, 1.0, 2.0], 120.0, "known", "dawn", "dawn", "generator", 40),
        ([1.0, 3.0, 2.0], 10.0, "known", "moss", "moss", "generator", 19),
        ([1.0, 2.0, 3.0], 30.0, "real", None, "camera", "overall", 60),
        ([3.0, 1.0, 2.0], 99.0, "unknown", None, "dawn", "generator", 40),
        ([1.0, 2.0, 3.0], -1.0, "unknown", None, "camera", "overall", 60),
    ],
)
def test_verdict_follows_from_the_best_class_and_the_p_value(
    manifest: Manifest,
    scores: list[float],
    log_density: float,
    verdict: str,
    generator: str | None,
    nearest: str,
    group: str,
    n: int,
) -> None:
    decision = DecisionRule(manifest.generators, manifest.real_class, CALIBRATION, 0.05).decide(
        np.float32(scores), log_density
    )
    assert (decision.label, decision.generator, decision.nearest) == (verdict, generator, nearest)
    assert (decision.calibration.group, decision.calibration.n) == (group, n)
    assert decision.scores == dict(zip(manifest.generators, scores, strict=True))
    assert decision.probabilities is None


def test_p_value_equal_to_alpha_is_unknown(manifest: Manifest) -> None:
    # With 19 images below none, p is exactly 1/20 = 0.05.
    decision = DecisionRule(manifest.generators, manifest.real_class, CALIBRATION, 0.05).decide(
        np.float32([0, 1, 0]), -1.0
    )
    assert decision.p_value == 0.05
    assert decision.label == "unknown"


def test_a_generator_is_named_only_for_an_image_that_is_unusual_among_camera_originals(manifest: Manifest) -> None:
    guarded = replace(CALIBRATION, real_margins=np.arange(-2.0, 197.0))  # of 199 camera originals
    rule = DecisionRule(manifest.generators, manifest.real_class, guarded, 0.05)
    assert rule.accusation_level == 0.01  # to the last bit: p-values are compared with it
    for scores, verdict, real_p_value in [
        ([3.0, 1.0, 0.9], "known", 1 / 200),  # 2.1 below the generator: below all
        ([3.0, 1.0, 1.0], "known", 2 / 200),  # as far as the lowest, which counts
        ([3.0, 1.0, 2.0], "unknown", 3 / 200),
        ([1.0, 2.0, 3.0], "real", 5 / 200),  # above it: the camera class answers, however usual
    ]:
        decision = rule.decide(np.float32(scores), 130.0)
        assert (decision.label, decision.real_p_value) == (verdict, pytest.approx(real_p_value))
        assert (decision.generator is not None) == (verdict == "known")


@pytest.mark.parametrize(("originals", "level"), [(0, 1.0), (9, 0.1), (19, 0.05), (99, 0.01), (1000, 0.01)])
def test_the_level_is_a_fifth_of_alpha_or_the_lowest_that_the_camera_originals_allow(
    originals: int, level: float
) -> None:
    assert accusation_level(originals, 0.05) == pytest.approx(level)


@pytest.mark.parametrize("originals", [30, 150])
def test_camera_originals_are_accused_at_most_at_the_level_whatever_the_classes_say(
    manifest: Manifest, originals: int
) -> None:
    random, accused, trials = np.random.default_rng(4), 0, 4000
    for _ in range(trials):
        margins = random.standard_normal(originals + 1) - 1.5  # all alike, and most nearer to a generator
        calibration = replace(CALIBRATION, real_margins=np.sort(margins[1:]))
        rule = DecisionRule(manifest.generators, manifest.real_class, calibration, 0.05)
        accused += rule.decide(np.array([-margins[0], -99.0, 0.0]), 130.0).label == "known"
    level = accusation_level(originals, 0.05)
    assert accused <= trials * level + 4 * np.sqrt(trials * level)


def test_real_is_said_only_of_an_image_that_is_more_camera_like_than_generated_ones(manifest: Manifest) -> None:
    doubting = replace(CALIBRATION, generated_margins=np.arange(-38.0, 1.0))  # of 39 images by generators, up to 0
    rule = DecisionRule(manifest.generators, manifest.real_class, doubting, 0.05)
    assert rule.acquittal_level == 0.05
    for margin, label, generated_p_value in [
        (0.5, "real", 1 / 40),  # above all
        (-0.5, "known", 2 / 40),  # nearest to a generator: `real` isn't asked for
    ]:
        decision = rule.decide(np.float32([-margin, -9.0, 0.0]), 130.0)
        assert (decision.label, decision.generated_p_value) == (label, pytest.approx(generated_p_value))
    higher = replace(CALIBRATION, generated_margins=np.arange(-30.0, 9.0))
    decision = DecisionRule(manifest.generators, manifest.real_class, higher, 0.05).decide(
        np.float32([-1.0, -9.0, 0.0]), 130.0
    )
    assert (decision.label, decision.generator, decision.nearest) == ("unknown", None, "camera")
    assert decision.generated_p_value == pytest.approx(9 / 40)


@pytest.mark.parametrize("generated", [10, 150])
def test_images_by_generators_are_called_real_at_most_at_the_level_whatever_the_classes_say(
    manifest: Manifest, generated: int
) -> None:
    random, called_real, trials = np.random.default_rng(4), 0, 4000
    for _ in range(trials):
        margins = random.standard_normal(generated + 1) + 1.5  # all alike, and most nearer to the cameras
        calibration = replace(CALIBRATION, generated_margins=np.sort(margins[1:]))
        rule = DecisionRule(manifest.generators, manifest.real_class, calibration, 0.05)
        called_real += rule.decide(np.array([-margins[0], -99.0, 0.0]), 130.0).label == "real"
    level = acquittal_level(generated, 0.05)
    assert called_real <= trials * level + 4 * np.sqrt(trials * level)
    assert called_real > 0


@given(
    st.floats(1e-3, 1),
    st.none() | st.floats(1e-3, 1),
    st.none() | st.floats(1e-3, 1),
    st.booleans(),
    st.none() | st.floats(1e-3, 0.5),
    st.none() | st.floats(1e-3, 0.5),
)
def test_more_evidence_against_a_label_never_makes_it_be_said(
    p_value: float,
    real: float | None,
    generated: float | None,
    nearest_is_real: bool,
    accusation: float | None,
    acquittal: float | None,
) -> None:
    levels = Levels(0.05, accusation, acquittal)
    label = label_of(Evidence(p_value, real, generated), nearest_is_real, levels)
    assert label in (("real", "unknown") if nearest_is_real else ("known", "unknown"))
    for less_telling in (
        Evidence(p_value, None if real is None else 1.0, generated),
        Evidence(p_value, real, None if generated is None else 1.0),
    ):
        assert label_of(less_telling, nearest_is_real, levels) in (label, "unknown")
    assert label_of(Evidence(0.05, real, generated), nearest_is_real, levels) == "unknown"


def test_what_cannot_be_judged_is_unknown_whatever_its_numbers(manifest: Manifest) -> None:
    rule = DecisionRule(manifest.generators, manifest.real_class, CALIBRATION, 0.05)
    for scores in ([3.0, 1.0, 2.0], [1.0, 2.0, 3.0]):
        judged = rule.decide(np.float32(scores), 130.0)
        refused = rule.decide(np.float32(scores), 130.0, judged=False)
        assert judged.label in ("known", "real")
        assert (refused.label, refused.generator, refused.nearest) == ("unknown", None, judged.nearest)
        assert (refused.p_value, refused.scores) == (judged.p_value, judged.scores)


def test_without_a_real_class_the_camera_class_is_a_generator(manifest: Manifest) -> None:
    import msgspec

    unmarked = msgspec.structs.replace(manifest, real_class=None)
    assert (
        DecisionRule(unmarked.generators, unmarked.real_class, CALIBRATION, 0.05)
        .decide(np.float32([0, 0, 1]), 50.0)
        .label
        == "known"
    )


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_alpha_outside_its_range_is_refused_before_any_image(manifest: Manifest, alpha: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        DecisionRule(manifest.generators, manifest.real_class, CALIBRATION, alpha)


def test_alpha_too_small_is_refused_with_the_smallest_possible(manifest: Manifest) -> None:
    with pytest.raises(CalibrationError, match=r"0\.01"):  # 1/61
        DecisionRule(manifest.generators, manifest.real_class, CALIBRATION, 0.001)


def test_contributions_of_all_features_add_up_to_the_difference_of_the_distances(manifest: Manifest) -> None:
    generator = np.random.default_rng(2)
    embedding, gate = generator.standard_normal(4), generator.random(4)
    prototypes = generator.standard_normal((3, 2, 4)).astype(np.float32)
    distance = (gate * (embedding - prototypes.astype(np.float64)) ** 2).sum(axis=-1)
    why = explain(
        manifest,
        prototypes,
        "moss",
        embedding=embedding,
        gate=gate,
        timestep_weight=np.array([0.25, 0.75]),
        prototype_distance=distance,
    )
    assert why.nearest_prototype.generator == "moss"
    assert why.nearest_prototype.distance == distance[1].min()
    assert why.runner_up.generator != "moss"
    assert why.runner_up.distance == distance[[0, 2]].min()
    assert why.timestep_weights == {0: 0.25, 200: 0.75}
    assert why.look_weights == {"image": 1.0}
    features = [*why.features_for, *why.features_against]
    assert len({feature.feature for feature in features}) == 4
    total = sum(feature.contribution for feature in features)
    assert total == pytest.approx(why.runner_up.distance - why.nearest_prototype.distance)
    assert all(feature.contribution > 0 for feature in why.features_for)
    assert all(feature.contribution < 0 for feature in why.features_against)


def test_at_most_five_features_are_shown_the_largest_first(manifest: Manifest) -> None:
    prototypes = np.zeros((3, 2, 20), np.float32)
    prototypes[0] = np.arange(20)
    why = explain(
        manifest,
        prototypes,
        "moss",
        embedding=np.zeros(20),
        gate=np.ones(20),
        timestep_weight=np.array([1.0, 0.0]),
        prototype_distance=np.array([[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]]),
    )
    assert [feature.feature for feature in why.features_for] == [19, 18, 17, 16, 15]
    assert why.features_against == []
