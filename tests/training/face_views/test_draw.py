"""Drawn views: the same for the same image, as often as said, and always images."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protoleak.faces.base import Face
from protoleak.faces.largest import LargestFace
from protoleak.images.framing import Box
from protoleak.training.face_views.draw import STYLES, WRITERS, draw_face_view
from protoleak.training.face_views.regions import LARGEST_SIDE
from protoleak.training.face_views.resampling import FILTERS
from protoleak.training.face_views.retouching import RETOUCHES
from protoleak.training.face_views.view import FaceView
from tests.look_bundle import YUNET, face_image

pytest.importorskip("av", reason="PyAV encodes the video")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), index=st.integers(0, 99), hashed=st.sampled_from(["a" * 64, "b" * 64]))
def test_a_drawn_view_depends_on_seed_content_and_number_only_and_survives_json(
    seed: int, index: int, hashed: str
) -> None:
    view = draw_face_view(seed, hashed, index)
    assert view == draw_face_view(seed, hashed, index)
    assert view not in (draw_face_view(seed, hashed, index + 1), draw_face_view(seed, hashed[::-1] + "c", index))
    assert msgspec.json.decode(view.name.removeprefix("face "), type=FaceView) == view


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    width=st.integers(64, 700),
    height=st.integers(64, 700),
    share=st.floats(0.1, 0.9),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
)
@example(seed=393621, width=64, height=389, share=0.5, x=0.0, y=0.0)  # a progressive JPEG of noise
def test_any_view_of_any_face_is_an_image_within_the_limits_and_is_made_alike_again(
    seed: int, width: int, height: int, share: float, x: float, y: float
) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = max(32.0, share * min(width, height))
    box = Box(x * (width - side), y * (height - side), side, side)
    points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side + (box.left, box.top)
    face = Face(box, 1.0, tuple((float(one), float(other)) for one, other in points))
    plan = draw_face_view(seed, "c" * 64, 1)
    view, place = plan.made(image, face)
    assert view.dtype == np.uint8
    assert view.ndim == 3
    assert view.shape[2] == 3
    again, same_place = plan.made(image, face)
    np.testing.assert_array_equal(view, again)
    assert place == same_place
    assert min(view.shape[:2]) >= 31  # what `open_image` takes, less a row that video codecs leave out
    assert max(view.shape[:2]) <= 1.15 * LARGEST_SIDE + 1
    assert np.isfinite([place.box.left, place.box.top, place.box.width, place.box.height]).all()


def test_all_styles_filters_retouches_and_writers_are_drawn_about_as_often_as_said() -> None:
    views = [draw_face_view(0, f"{index:064d}", 1) for index in range(1500)]
    for style, share in STYLES:
        assert np.mean([view.style == style for view in views]) == pytest.approx(share, abs=0.05)  # 4 standard errors
    for kind, share in WRITERS:
        assert np.mean([view.writer.kind == kind for view in views]) == pytest.approx(share, abs=0.05)
    assert {view.resampler for view in views} == set(FILTERS)
    assert {kind for view in views for kind, _ in view.retouches} == set(RETOUCHES)
    assert 0.45 < np.mean([view.flip for view in views]) < 0.55
    assert {view.second_writer is None for view in views} == {True, False}
    assert all(view.second_writer is not None for view in views if view.second_scale is not None)


@pytest.mark.parametrize("seed", range(4))
def test_a_detector_finds_the_face_where_drawn_views_say_it_is(seed: int) -> None:
    image = face_image("none", 7)
    find = LargestFace(YUNET)
    face = find(image)
    hits = 0
    for index in range(8):
        plan = msgspec.structs.replace(draw_face_view(seed, "a" * 64, index), jitter=(0.0, 0.0, 0.0))
        view, place = plan.made(np.asarray(image), face)
        found = LargestFace(YUNET)(_pillow(view)) if min(view.shape[:2]) > 0 else None
        assert found is not None
        side = max(place.box.width, place.box.height)
        hits += math.dist(found.box.centre, place.box.centre) < 0.15 * side
        assert max(found.box.width, found.box.height) == pytest.approx(side, rel=0.3)
    assert hits >= 7  # retouched and compressed faces move a little


def _pillow(view: np.ndarray) -> object:
    from PIL import Image

    return Image.fromarray(view)
