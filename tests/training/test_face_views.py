"""Views of faces: drawn by seed alone, and the face stays where it is said to be."""

from __future__ import annotations

import math

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protoleak.faces.base import Face
from protoleak.faces.largest import LargestFace
from protoleak.images.framing import Box
from protoleak.training.face_views.draw import STYLES, WRITERS, draw_face_view
from protoleak.training.face_views.regions import LARGEST_SIDE, SMALLEST_SIDE, Style, ffhq_matrix, moved
from protoleak.training.face_views.resampling import FILTERS, resize
from protoleak.training.face_views.retouching import RETOUCHES, retouch
from protoleak.training.face_views.view import FaceView
from protoleak.training.face_views.writers import Writer, write
from tests.look_bundle import YUNET, face_image

pytest.importorskip("av", reason="PyAV writes film")

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


def test_the_jitter_moves_and_scales_the_box_alone() -> None:
    plain, face = FaceView().made(dotted(), FACE)
    view, jittered = FaceView(jitter=(0.1, -0.05, math.log(1.2))).made(dotted(), FACE)
    np.testing.assert_array_equal(view, plain)
    assert jittered.landmarks == face.landmarks
    assert jittered.box.centre == pytest.approx((180 + 0.1 * 140, 160 - 0.05 * 140))
    assert (jittered.box.width, jittered.box.height) == pytest.approx((120, 168))


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
    assert min(view.shape[:2]) >= 31  # what `open_image` takes, less a row that film leaves out
    assert max(view.shape[:2]) <= 1.15 * LARGEST_SIDE + 1
    assert np.isfinite([place.box.left, place.box.top, place.box.width, place.box.height]).all()


def test_small_faces_are_enlarged_little_and_views_of_large_images_are_large_enough() -> None:
    small, place = FaceView(style="loose", region=(3.0, 1.0, 0.5, 0.5), face_side=380.0).made(
        np.zeros((400, 400, 3), np.uint8), Face(Box(180, 180, 40, 40), 1.0)
    )
    assert max(place.box.width, place.box.height) == pytest.approx(64, abs=1)  # 1.6 times
    assert small.shape[:2] == (192, 192)
    reduced, _ = FaceView(style="tight", region=(1.4, 1.0, 0.5, 0.5), face_side=64.0).made(
        np.zeros((900, 900, 3), np.uint8), Face(Box(300, 300, 300, 300), 1.0)
    )
    assert min(reduced.shape[:2]) == SMALLEST_SIDE


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


@pytest.mark.parametrize("kind", [kind for kind, _ in WRITERS])
def test_every_writer_gives_back_the_image_nearly_and_a_coarser_one_less(kind: str) -> None:
    image = np.asarray(face_image("none", 3))
    fine, coarse = (20, 40) if kind.startswith("lib") else (95, 20)

    def error(quality: int) -> float:
        back = write(image, Writer(kind, quality, shift=(1, -2)))  # type: ignore[arg-type]
        assert back.shape == image.shape
        assert back.dtype == np.uint8
        return float(np.abs(back.astype(float) - image).mean())

    if kind == "png":
        assert error(0) == 0
        return
    assert 0 < error(fine) < 5  # grey levels; the image has noise of σ = 4 that no writer keeps whole
    assert error(coarse) > 1.2 * error(fine)


def test_the_chroma_subsampling_that_was_asked_for_is_used() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    kept = write(stripes, Writer("jpeg", 95, subsampling=0)).astype(int)
    lost = write(stripes, Writer("jpeg", 95, subsampling=2)).astype(int)
    contrast = [np.abs(image[:, ::2, 0] - image[:, 1::2, 0]).mean() for image in (kept, lost)]
    assert contrast[0] > 2 * contrast[1]


@pytest.mark.parametrize("kind", RETOUCHES)
@pytest.mark.parametrize("amount", [-1.0, 0.0, 1.0])
def test_retouching_keeps_the_size_and_most_of_the_image(kind: str, amount: float) -> None:
    image = np.asarray(face_image("none", 5))
    found = retouch(image, kind, amount, np.random.default_rng(0))
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert np.corrcoef(found.reshape(-1), image.reshape(-1))[0, 1] > 0.9
    if amount == 1.0:
        assert not np.array_equal(found, image)


@pytest.mark.parametrize("resampler", FILTERS)
@pytest.mark.parametrize("size", [(50, 40), (300, 260)])
def test_every_filter_resizes_to_the_size_both_ways(resampler: str, size: tuple[int, int]) -> None:
    image = np.asarray(face_image("none", 5))
    found = resize(image, *size, resampler)
    assert found.shape == (size[1], size[0], 3)
    expected = cv2.resize(image, size, interpolation=cv2.INTER_AREA if size[0] < 192 else cv2.INTER_LINEAR)
    assert np.abs(found.astype(float).mean(axis=(0, 1)) - expected.astype(float).mean(axis=(0, 1))).max() < 2


def test_ffhq_puts_the_eyes_level_and_where_ffhq_has_them() -> None:
    turned = cv2.getRotationMatrix2D((180, 160), 20, 1.3)
    face = moved(FACE, turned)
    assert face.landmarks is not None
    for landmarks in (np.array(LANDMARKS), np.array(face.landmarks)):
        matrix = ffhq_matrix(landmarks, 1.0, (0.0, 0.0), 1024.0)
        right, left = (matrix[:, :2] @ point + matrix[:, 2] for point in landmarks[:2])
        assert abs(right[1] - left[1]) < 0.06 * (left[0] - right[0])
        middle = (right + left) / 2
        assert middle[0] == pytest.approx(512, abs=12)
        assert 440 < middle[1] < 500  # FFHQ's eyes lie at 0.47 of the height
        assert np.linalg.det(matrix[:, :2]) > 0  # a similarity, never a mirror image


def test_a_face_without_landmarks_has_a_loose_crop_in_the_place_of_ffhqs() -> None:
    style: Style = "ffhq"
    view, place = FaceView(style=style, region=(1.0, 1.0, 0.0, 0.0)).made(dotted(), Face(FACE.box, 1.0))
    assert view.shape[:2] == (320, 336)  # 2.4 faces, as far as the image goes
    assert place.box.width == pytest.approx(100)
