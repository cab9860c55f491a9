"""A face with a dot of another colour on each landmark, so that one sees where a view has put them."""

from __future__ import annotations

import numpy as np

from protoleak.faces.base import Face
from protoleak.images.framing import Box

DOT = 5  # pixels, σ of a dot
LANDMARKS = ((150.0, 130.0), (210.0, 124.0), (182.0, 160.0), (156.0, 196.0), (206.0, 191.0))
FACE = Face(Box(130, 90, 100, 140), 0.9, LANDMARKS)


def dotted(width: int = 360, height: int = 320) -> np.ndarray:
    """A grey image with a coloured dot on each landmark: red, green, blue, yellow and cyan."""
    rows, columns = np.mgrid[:height, :width]
    image = np.full((height, width, 3), 60.0)
    for (x, y), colour in zip(LANDMARKS, COLOURS, strict=True):
        # A pixel's middle is at half a pixel of the continuous coordinates that boxes and landmarks are in.
        dot = np.exp(-((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2) / (2 * DOT**2))
        image += dot[..., None] * (np.array(colour) * 190.0)
    return np.clip(image, 0, 255).astype(np.uint8)


COLOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1))


def found_dots(view: np.ndarray) -> np.ndarray:
    """float64 [5, 2]: where the dot of each colour is brightest in its own channels and dark in the others."""
    places = []
    for colour in COLOURS:
        on = np.array(colour, bool)
        strength = view[..., on].astype(np.float64).min(axis=2) - view[..., ~on].astype(np.float64).max(axis=2)
        weight = np.clip(strength - 0.5 * strength.max(), 0, None)
        rows, columns = np.mgrid[: view.shape[0], : view.shape[1]]
        places.append([(weight * (axis + 0.5)).sum() / weight.sum() for axis in (columns, rows)])
    return np.array(places)
