"""Whether the images of a source are like those of the calibration."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

import protoleak
from protoleak.bundle.calibration import Calibration
from protoleak.runtime.drift import EVIDENCE, DriftEvent, DriftMonitor
from protoleak.runtime.verdict import Verdict
from tests.tiny_bundle import make_image

GENERATORS = ("dawn", "moss")


@pytest.fixture(scope="module")
def verdict(tiny_bundle: Path) -> Verdict:
    return protoleak.load(tiny_bundle, threads=1)(make_image(0, 1))[0]


def monitor(random: np.random.Generator, per_class: int = 80, alpha: float = 0.05) -> DriftMonitor:
    """A calibration of two classes that lie far apart, so that ranks among all would mean nothing."""
    own = (np.sort(random.normal(0, 1, per_class)), np.sort(random.normal(40, 3, per_class)))
    calibration = Calibration(np.sort(np.concatenate(own)), own, None)
    return DriftMonitor("gate", GENERATORS, calibration, alpha)


def screened(
    watch: DriftMonitor, verdict: Verdict, random: np.random.Generator, shift: float, faces: int, share: float = 0.5
) -> list[DriftEvent]:
    """The events of so many faces, a share of them of the second class."""
    events = []
    for number in range(faces):
        second = random.random() < share
        density = random.normal(40, 3) + 3 * shift if second else random.normal() + shift
        face = msgspec.structs.replace(verdict, nearest=GENERATORS[second], log_density=density, lacking=None)
        event = watch.take(face, number / 2)
        events += [event] if event is not None else []
    return events


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_images_like_those_of_the_calibration_are_no_drift_whatever_their_mixture(
    verdict: Verdict, share: float
) -> None:
    alarms = 0
    for seed in range(40):
        random = np.random.default_rng([seed, 7])
        alarms += len(screened(monitor(random), verdict, random, 0.0, 100, share))
    assert alarms <= 3  # 0.4 on average; 4 would be a chance of 0.1 %


def test_images_that_are_more_unusual_are_drift_and_that_is_said_once(verdict: Verdict) -> None:
    random = np.random.default_rng(1)
    watch = monitor(random)
    (event,) = screened(watch, verdict, random, -1.2, 120)
    assert (event.source, event.timestamp is not None) == ("gate", True)
    assert EVIDENCE <= event.evidence < 2 * EVIDENCE  # a bet at most doubles
    assert event.faces < 80
    assert event.mean_p_value < 0.4
    assert watch.largest_evidence >= event.evidence
    assert "more unusual than those" in str(event)


def test_images_that_are_all_alike_are_drift_too(verdict: Verdict) -> None:
    random = np.random.default_rng(2)
    (event,) = screened(monitor(random), verdict, random, 1.5, 120)
    assert "not as varied as those" in str(event)


def test_what_is_unknown_by_its_density_or_lacks_content_is_not_compared(verdict: Verdict) -> None:
    watch = monitor(np.random.default_rng(3))
    for number in range(50):
        unknown = msgspec.structs.replace(verdict, nearest="dawn", log_density=-30.0 - number, lacking=None)
        lacking = msgspec.structs.replace(verdict, nearest="dawn", log_density=0.0, lacking="blurred")
        assert watch.take(unknown) is None
        assert watch.take(lacking) is None
    assert (watch.faces, watch.evidence, watch.largest_evidence) == (0, 1.0, 1.0)


def test_the_same_images_give_the_same_evidence(verdict: Verdict) -> None:
    found = []
    for _ in range(2):
        random = np.random.default_rng(4)
        watch = monitor(random)
        screened(watch, verdict, random, -0.3, 60)
        found.append(watch.evidence)
    assert found[0] == found[1] != 1.0


def test_evidence_beyond_a_float64_stays_a_number(verdict: Verdict) -> None:
    watch = monitor(np.random.default_rng(5), per_class=4000)
    face = msgspec.structs.replace(verdict, nearest="moss", log_density=36.0, lacking=None)
    for _ in range(3000):
        watch.take(face)
    assert watch.largest_evidence > 1e299
    assert math.isfinite(watch.evidence)


def test_a_pipeline_makes_one_that_takes_its_verdicts(tiny_bundle: Path) -> None:
    with protoleak.load(tiny_bundle, threads=1) as screener:
        watch = screener.drift_monitor("camera 1")
        verdicts = screener([make_image(0, seed) for seed in range(6)])
        assert [watch.take(verdict) for verdict in verdicts] == [None] * 6
        assert watch.faces == sum(one.p_value > one.alpha for one in verdicts)
        assert watch.source == "camera 1"
