"""No detector: the frame is taken for an image of one face, as images are without `--faces`."""

from __future__ import annotations

from protoleak.arrays import UInt8Array
from protoleak.faces.base import Box, Face


class WholeFrame:
    """A "detector" that finds one face in every frame.

    Its box is such that the crop with its margin is the frame's centre square, which is what the network sees of an
    image without faces.

    Args:
        margin: that the crops will be made with.
    """

    description = "no face detector: the centre square of every frame is judged"

    def __init__(self, margin: float) -> None:
        self._share = 1 / (1 + 2 * margin)

    def __call__(self, image: UInt8Array) -> list[Face]:
        """One face in uint8 [H, W, 3], of score 1."""
        height, width = image.shape[:2]
        side = min(height, width) * self._share
        return [Face(Box((width - side) / 2, (height - side) / 2, side, side), 1.0)]
