"""Where one shot ends and another begins: a face that then stands where another stood is somebody else's.

A track over a cut would put one person's evidence on another. A cut is seen by a jump of the whole image against what
the images before did, as PySceneDetect's adaptive detector sees it; only backwards in time, since a live source
cannot wait for the next images. A flash taken for a cut costs little: a track is split.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from protoleak.arrays import UInt8Array

SIZE = 32, 18  # so coarse that motion within a shot changes little
SAMPLED_SIDE = 180  # of a larger frame every n-th pixel is enough, which costs a tenth
JUMP = 15.0  # grey levels of 255, mean over the image; a quick pan of short_hamilton_clip.mp4 has 12, its cuts 26–29
RATIO = 2.5  # to the mean of the changes before: hand-held cameras and slow sources change much at every frame
CHANGES_KEPT = 8


class ShotBoundaryDetector:
    """Compares one source's frames in order."""

    def __init__(self) -> None:
        self._before: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None
        self._changes: deque[float] = deque(maxlen=CHANGES_KEPT)

    def begins_with(self, image: UInt8Array) -> bool:
        """Whether this frame begins another shot than the one before.

        Args:
            image: uint8 [H, W, 3], or luma alone, uint8 [H, W]; of one kind throughout.
        """
        step = max(1, min(image.shape[:2]) // SAMPLED_SIDE)
        sampled = np.ascontiguousarray(image[::step, ::step])
        now = cv2.resize(sampled, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._before = self._before, now
        if before is None:
            return False
        change = float(np.abs(now - before).mean())
        # The newest change counts by itself: a pan that sets in is one jump, not one at every frame of it.
        usual = max(sum(self._changes) / len(self._changes), self._changes[-1]) if self._changes else 0.0
        self._changes.append(change)
        return change >= JUMP and change >= RATIO * usual
