"""Draws views from a seed, the image's hash and a number.

Every class passes through the same distribution of alignments, scales, resamplers, retouching and writers, so that
none of these gives a class away.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from protoleak.training.face_views.regions import Style
from protoleak.training.face_views.resampling import FILTERS
from protoleak.training.face_views.retouching import RETOUCHES
from protoleak.training.face_views.view import FaceView
from protoleak.training.face_views.writers import Writer, WriterKind

Name = TypeVar("Name", bound=str)
STYLES: tuple[tuple[Style, float], ...] = (("whole", 0.3), ("loose", 0.35), ("tight", 0.1), ("ffhq", 0.25))
SMALLEST_FACE, LARGEST_FACE = 48.0, 380.0  # longer side of the face's box in the view, in pixels, log-uniform
UNSCALED_PROBABILITY = 0.15
RETOUCH_PROBABILITY, SECOND_PROBABILITY, RESIZED_AGAIN = 0.3, 0.35, 0.5
# What was kept small and is shown large, as videos on the web often are: without it softness looks like a generator.
SOFTENED_PROBABILITY, SOFTEST, LEAST_SOFT = 0.25, 0.3, 0.85
LOWEST_QUALITY, HIGHEST_QUALITY = 45, 97
FINEST_RATE_FACTOR, COARSEST_RATE_FACTOR = 18, 38  # of video codecs
WRITERS: tuple[tuple[WriterKind, float], ...] = (
    ("jpeg", 0.42), ("cv_jpeg", 0.1), ("webp", 0.13), ("png", 0.13), ("libx264", 0.14), ("libx265", 0.08),
)  # fmt: skip


def draw_face_view(seed: int, sha256: str, index: int) -> FaceView:
    """View number `index` of the image with that content; the same arguments give the same plan."""
    key = np.frombuffer(hashlib.sha256(f"{seed} {sha256} {index}".encode()).digest()[:16], dtype=np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    style = _pick(random, STYLES)
    if style == "ffhq":
        shift_x, shift_y = (float(shift) for shift in random.normal(0, 0.015, 2))
        region = (float(random.uniform(0.92, 1.08)), 1.0, shift_x, shift_y)
    else:
        low, high = (1.35, 1.9) if style == "tight" else (1.8, 4.5)
        region = (
            float(math.exp(random.uniform(math.log(low), math.log(high)))),
            float(math.exp(random.uniform(math.log(0.7), math.log(1.4)))),
            float(random.uniform(0.35, 0.65)),
            float(random.uniform(0.35, 0.65)),
        )
    scaled = random.random() >= UNSCALED_PROBABILITY
    side = float(math.exp(random.uniform(math.log(SMALLEST_FACE), math.log(LARGEST_FACE))))
    retouches: list[tuple[str, float]] = []
    while random.random() < RETOUCH_PROBABILITY and len(retouches) < 3:
        retouches.append((RETOUCHES[int(random.integers(len(RETOUCHES)))], float(random.uniform(-1, 1))))
    softened = None
    if random.random() < SOFTENED_PROBABILITY:
        share = float(math.exp(random.uniform(math.log(SOFTEST), math.log(LEAST_SOFT))))
        softened = (share, FILTERS[int(random.integers(len(FILTERS)))], FILTERS[int(random.integers(len(FILTERS)))])
    again = random.random() < SECOND_PROBABILITY
    resized_again = again and random.random() < RESIZED_AGAIN
    return FaceView(
        style=style,
        region=region,
        face_side=side if scaled else None,
        resampler=FILTERS[int(random.integers(len(FILTERS)))],
        flip=bool(random.random() < 0.5),
        softened=softened,
        retouches=tuple(retouches),
        writer=_draw_writer(random),
        second_scale=float(random.uniform(0.5, 1.15)) if resized_again else None,
        second_resampler=FILTERS[int(random.integers(len(FILTERS)))],
        second_writer=_draw_writer(random) if again else None,
        jitter=_draw_jitter(random),
        noise_seed=int(random.integers(2**62)),
    )


def _draw_jitter(random: np.random.Generator) -> tuple[float, float, float]:
    x, y, log_scale = random.normal(0, (0.03, 0.03, 0.06))
    return float(x), float(y), float(log_scale)


def _draw_writer(random: np.random.Generator) -> Writer:
    kind = _pick(random, WRITERS)
    quality = int(random.integers(LOWEST_QUALITY, HIGHEST_QUALITY + 1))
    if kind in ("libx264", "libx265"):
        quality = int(random.integers(FINEST_RATE_FACTOR, COARSEST_RATE_FACTOR + 1))
    return Writer(
        kind=kind,
        quality=quality,
        subsampling=int(random.choice([0, 1, 2], p=[0.35, 0.1, 0.55])),
        progressive=bool(random.random() < 0.3),
        shift=(int(random.integers(-3, 4)), int(random.integers(-3, 4))),
    )


def _pick(random: np.random.Generator, choices: Sequence[tuple[Name, float]]) -> Name:
    names, shares = zip(*choices, strict=True)
    chosen: Name = names[int(np.searchsorted(np.cumsum(shares), random.random() * sum(shares), side="right"))]
    return chosen
