"""Several operators one after another, as a picture meets them that is passed around."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from protoleak.errors import ProtoleakError
from protoleak.operators.functions import UInt8Array
from protoleak.operators.table import OPERATORS, SEVERITIES, apply


class Step(msgspec.Struct, frozen=True):
    """One operator of OPERATORS at a severity from 1 to 5."""

    operator: str
    severity: int


def apply_chain(chain: Sequence[Step], image: UInt8Array, random: np.random.Generator) -> UInt8Array:
    """An image after the operators in their order; the image itself after none. Arguments and errors as `apply`."""
    for step in chain:
        image = apply(step.operator, step.severity, image, random)
    return image


def draw_chain(
    random: np.random.Generator,
    max_length: int = 3,
    *,
    length: int | None = None,
    severities: Sequence[int] = SEVERITIES,
) -> tuple[Step, ...]:
    """A chain of different operators, each as likely as any other, at severities drawn for each.

    Args:
        random: the same state gives the same chain.
        max_length: the length is drawn from 1 to this.
        length: to fix it.
        severities: to draw from, such as (1, 2, 3) for training that is not to drown in spoilt pictures.

    Raises:
        ProtoleakError: a length below 1 or above the number of operators, or a severity that there isn't.
    """
    longest = max_length if length is None else length
    if not 1 <= longest <= len(OPERATORS):
        raise ProtoleakError(f"a chain of {longest} operators: give 1 to {len(OPERATORS)}, there are no more")
    if not severities or not set(severities) <= set(SEVERITIES):
        raise ProtoleakError(f"severities {list(severities)}: give some from {SEVERITIES[0]} to {SEVERITIES[-1]}")
    count = int(random.integers(1, longest + 1)) if length is None else length
    chosen = random.choice(len(OPERATORS), size=count, replace=False)
    names = tuple(OPERATORS)
    return tuple(Step(names[index], int(severities[int(random.integers(len(severities)))])) for index in chosen)


def chain_name(chain: Sequence[Step]) -> str:
    """A chain in one line, such as "crop 2 → jpeg 4"."""
    return " → ".join(f"{step.operator} {step.severity}" for step in chain) or "none"
