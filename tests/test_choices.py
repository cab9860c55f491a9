"""The choices that help texts list are those that there are."""

from __future__ import annotations

from typing import get_args

import pytest

from protoleak.choices import COMPUTES, OPERATOR_NAMES, EngineName, PlanEngine, check_choice
from protoleak.diffusion import NoiseSchedule
from protoleak.errors import ProtoleakError
from protoleak.images.perturbations import OPERATORS
from protoleak.runtime.engines.availability import ENGINES
from protoleak.training.settings import SCHEDULE_STEPS


def test_operators_and_engines_are_those_of_their_tables() -> None:
    assert tuple(OPERATORS) == OPERATOR_NAMES
    assert get_args(EngineName) == ("auto", *ENGINES)
    assert set(get_args(PlanEngine)) <= set(ENGINES)


def test_training_knows_how_many_steps_the_diffusion_has() -> None:
    assert NoiseSchedule().steps == SCHEDULE_STEPS


def test_another_value_is_an_error_with_the_choices() -> None:
    check_choice("compute", "exact", COMPUTES)
    with pytest.raises(ProtoleakError, match=r"^compute is 'fp8': choose one of auto, exact, bf16$"):
        check_choice("compute", "fp8", COMPUTES)
