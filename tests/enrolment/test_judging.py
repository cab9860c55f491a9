"""Verdicts over arrays are those of the runtime's rule, image by image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.bundle.calibration import Calibration
from protoleak.enrolment.judging import UNKNOWN, judged
from protoleak.enrolment.rows import Rows
from protoleak.metrics.classes import Classes
from protoleak.runtime.decision import DecisionRule

NAMES = ["ash", "birch", "camera"]


@pytest.mark.parametrize("real", [None, "camera"])
@given(seed=st.integers(0, 2**32 - 1), margins=st.booleans(), generated=st.booleans())
@settings(max_examples=25, deadline=None)
def test_arrays_are_judged_as_single_images_are(real: str | None, seed: int, margins: bool, generated: bool) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(random.normal(size=(60, 3)), 1)
    density = np.round(random.normal(size=60), 1)
    margins = margins and real is not None
    calibration = Calibration(
        overall=np.sort(random.normal(size=80)),
        per_generator=(np.sort(random.normal(size=30)), np.zeros(0), np.sort(random.normal(size=5))),
        temperature=None,
        real_margins=np.sort(np.round(random.normal(size=50), 1)) if margins else None,
        generated_margins=np.sort(np.round(random.normal(size=40), 1)) if margins and generated else None,
    )
    nothing = np.zeros((60, 1), np.float16)
    rows = Rows(nothing, nothing, np.zeros((60, 0), np.int8), scores, density, np.zeros(60, np.int64))
    found = judged(rows, Classes.of(NAMES, real), calibration, 0.1)
    rule = DecisionRule(NAMES, real, calibration, 0.1)
    for index, said in enumerate(found):
        one = rule.decide(scores[index], float(density[index]))
        expected = {"unknown": UNKNOWN, "real": 2}.get(one.label)
        assert said == (NAMES.index(str(one.generator)) if expected is None else expected)
