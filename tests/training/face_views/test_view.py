"""A view says where its face is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from protoleak.training.face_views.view import FaceView
from protoleak.training.face_views.writers import Writer
from tests.training.face_views.dotted_face import FACE, LANDMARKS, dotted, found_dots

PLANS = {
    "whole": FaceView(style="whole", face_side=90.0),
    "unscaled": FaceView(style="whole"),
    "flipped": FaceView(style="whole", face_side=120.0, flip=True),
    "loose": FaceView(style="loose", region=(2.0, 1.2, 0.45, 0.6), face_side=150.0, resampler="lanczos"),
    "wide": FaceView(style="loose", region=(2.1, 0.8, 0.5, 0.5), flip=True, resampler="cv_area", face_side=100.0),
    "tight": FaceView(style="tight", region=(1.5, 1.0, 0.5, 0.5), face_side=140.0, resampler="cv_linear"),
    "ffhq": FaceView(style="ffhq", region=(1.0, 1.0, 0.01, -0.01), face_side=110.0),
    "ffhq large": FaceView(style="ffhq", region=(0.95, 1.0, 0.0, 0.0), face_side=300.0, flip=True),
    "ffhq unscaled": FaceView(style="ffhq", region=(1.05, 1.0, 0.0, 0.0)),
    "second": FaceView(
        style="whole",
        face_side=140.0,
        second_scale=0.8,
        second_resampler="bicubic",
        second_writer=Writer("jpeg", 92, subsampling=0),
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_face_is_where_the_view_says_it_is(name: str) -> None:
    view, face = PLANS[name].made(dotted(), FACE)
    assert face.landmarks is not None
    # Resampling filters and FFHQ's warp put a pixel's middle at up to half a pixel from where it should be.
    np.testing.assert_allclose(found_dots(view), np.array(face.landmarks), atol=1.0)


@pytest.mark.parametrize("name", PLANS)
def test_the_box_goes_with_the_landmarks(name: str) -> None:
    _, face = PLANS[name].made(dotted(), FACE)
    assert face.landmarks is not None
    before, after = np.array(LANDMARKS), np.array(face.landmarks)
    scale = math.dist(after[0], after[1]) / math.dist(before[0], before[1])
    assert max(face.box.width, face.box.height) == pytest.approx(scale * 140, rel=0.02)  # whole pixels of the view
    offset = math.dist(face.box.centre, after[2]) / scale
    assert offset == pytest.approx(math.dist(FACE.box.centre, before[2]), abs=1.5)


def test_the_jitter_moves_and_scales_the_box_alone() -> None:
    plain, face = FaceView().made(dotted(), FACE)
    view, jittered = FaceView(jitter=(0.1, -0.05, math.log(1.2))).made(dotted(), FACE)
    np.testing.assert_array_equal(view, plain)
    assert jittered.landmarks == face.landmarks
    assert jittered.box.centre == pytest.approx((180 + 0.1 * 140, 160 - 0.05 * 140))
    assert (jittered.box.width, jittered.box.height) == pytest.approx((120, 168))
