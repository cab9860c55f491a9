"""Which of a track's faces are attributed: not that of every frame, which would say the same again."""

from __future__ import annotations

LARGER = 1.5  # of the side: 2.25 times as many pixels of its own in the image that the network sees
SHARPER = 2.0  # of the variance of the Laplacian


class SamplingRule:
    """Decides for one track.

    A face is sampled when `every` seconds have gone since the last one, or earlier when it is clearly larger or clearly
    sharper than any attributed before. Both bars rise with each attribution, so that a face which grows from
    48 to 1080 pixels is taken at most log(1080/48)/log(1.5) < 8 times for it.

    Args:
        every: seconds; 0 for every frame.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._newest = -float("inf")
        self._largest = 0.0
        self._sharpest = 0.0

    def due(self, timestamp: float) -> bool:
        """Whether any face of a frame at this time, in seconds, is to be attributed."""
        return timestamp - self._newest >= self._every - 1e-6  # timestamps are rounded to the container's clock

    def wants(self, timestamp: float, side: float, sharpness: float) -> bool:
        """Whether this face is to be attributed.

        Args:
            timestamp: of its frame, in seconds.
            side: the longer side of its box, in pixels.
            sharpness: of its crop, as `faces.crops.sharpness` gives it.
        """
        return self.due(timestamp) or side >= LARGER * self._largest or sharpness >= SHARPER * self._sharpest

    def took(self, timestamp: float, side: float, sharpness: float) -> None:
        """This face is being attributed."""
        self._newest = timestamp
        self._largest = max(self._largest, side)
        self._sharpest = max(self._sharpest, sharpness)
