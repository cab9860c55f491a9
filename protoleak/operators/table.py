"""Which operators there are, and what their five severities mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from protoleak.errors import MediaError, ProtoleakError
from protoleak.operators import functions
from protoleak.operators.functions import UInt8Array

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        name: its key in OPERATORS.
        unit: what the levels are.
        levels: one number per severity, from the mildest to the hardest.
        function: (image, level, random) → image, see `operators.functions`.
    """

    name: str
    unit: str
    levels: tuple[float, float, float, float, float]
    function: Callable[[UInt8Array, float, np.random.Generator], UInt8Array]


# WILD names its operators but not their strengths. These run from what nobody sees to what spoils the picture.
OPERATORS = MappingProxyType(
    {
        operator.name: operator
        for operator in (
            Operator("jpeg", "quality", (90, 75, 60, 40, 20), functions.jpeg),
            Operator("webp", "quality", (90, 75, 60, 40, 20), functions.webp),
            Operator("crop", "share of each side", (0.95, 0.9, 0.8, 0.65, 0.5), functions.crop),
            Operator("resize", "share of each side", (0.9, 0.75, 0.5, 0.35, 0.25), functions.resize),
            Operator("rotation", "degrees", (1, 3, 6, 10, 20), functions.rotation),
            Operator("contrast", "factor", (1.1, 1.25, 1.5, 1.75, 2.0), functions.contrast),
            Operator("brightness", "factor", (1.1, 1.2, 1.35, 1.5, 1.75), functions.brightness),
            Operator("blur", "σ in pixels", (0.5, 0.75, 1.0, 1.5, 2.5), functions.blur),
            Operator("greyscale", "share of the way", (0.2, 0.4, 0.6, 0.8, 1.0), functions.greyscale),
            Operator("noise", "σ in grey levels", (2, 4, 8, 12, 20), functions.noise),
        )
    }
)


def apply(name: str, severity: int, image: UInt8Array, random: np.random.Generator) -> UInt8Array:
    """An image after one operator.

    Args:
        name: one of OPERATORS.
        severity: 1 to 5.
        image: uint8 [H, W, 3] in RGB order; left as it is.
        random: for what the operator leaves open; the same state gives the same image.

    Returns:
        uint8 [H', W', 3]; smaller after crop and resize, by no side below 32 pixels (or what it had).

    Raises:
        ProtoleakError: no such operator or severity.
        MediaError: the image is something else.
    """
    if name not in OPERATORS:
        raise ProtoleakError(f"there is no operator {name!r}: choose one of {', '.join(OPERATORS)}")
    if severity not in SEVERITIES:
        raise ProtoleakError(f"severity {severity}: give one from {SEVERITIES[0]} to {SEVERITIES[-1]}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise MediaError(f"{image.dtype} {list(image.shape)}: an operator takes uint8 [H, W, 3] in RGB order")
    operator = OPERATORS[name]
    return operator.function(image, operator.levels[severity - 1], random)
