"""The crop kernels, built for the host, against the framing that the host itself does."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.choices import LOOKS, Look
from protoleak.faces.crops import frame_face, look_rectangles
from protoleak.images.framing import Box, Framing
from protoleak.runtime.cuda.crops import PLAN_HEADER, Rectangle, taps_for
from tests.runtime.cuda.crop_reference import cropped
from tests.runtime.cuda.host_library import crop_on_host


def noise_frame(seed: int, height: int, width: int, padding: int = 0) -> np.ndarray:
    """Random pixels: the hardest image for a filter. Rows may be padded, as decoders pad them."""
    rows = np.random.default_rng(seed).integers(0, 256, (height, width + padding, 3), dtype=np.uint8)
    return rows[:, :width]


rectangles = st.tuples(st.integers(-40, 60), st.integers(-40, 60), st.integers(1, 90), st.integers(1, 90))
# Detectors give parts of pixels; faces may lie partly or wholly outside, and be larger than the frame.
boxes = st.builds(Box, st.floats(-60, 130), st.floats(-60, 130), st.floats(1, 150), st.floats(1, 150))


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.lists(rectangles, min_size=1, max_size=3))
def test_rectangles_equal_the_preprocessing_of_the_crop_byte_for_byte(
    host_crops: ctypes.CDLL,  # noqa: ARG001  # builds it, outside of the examples
    height: int,
    width: int,
    size: int,
    rectangles: list[Rectangle],
) -> None:
    frame = noise_frame(height * 64 + width, height, width, padding=3)
    got, _ = crop_on_host(frame, rectangles, size)
    for crop, rectangle in zip(got, rectangles, strict=True):
        np.testing.assert_array_equal(crop, cropped(frame, rectangle, size))


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 120),
    st.integers(1, 120),
    st.integers(1, 40),
    boxes,
    st.permutations(LOOKS).flatmap(lambda looks: st.integers(1, 3).map(lambda count: tuple(looks[:count]))),
    st.sampled_from([0.0, 0.25, 1.0]),
)
def test_every_look_of_a_face_is_what_the_host_frames_byte_for_byte(
    host_crops: ctypes.CDLL,  # noqa: ARG001
    height: int,
    width: int,
    size: int,
    box: Box,
    looks: tuple[Look, ...],
    margin: float,
) -> None:
    frame, framing = noise_frame(height * 128 + width, height, width), Framing(looks, size)
    got, _ = crop_on_host(frame, look_rectangles(framing, frame, box, margin), size)
    np.testing.assert_array_equal(got, frame_face(framing, frame, box, margin).pixels)


@pytest.mark.parametrize("looks", [("face", "native", "image"), ("image",)])
@pytest.mark.parametrize(("height", "width"), [(360, 640), (1280, 720), (1080, 1920), (200, 210)])
def test_faces_of_real_frames_equal_the_host_at_the_real_size(
    host_crops: ctypes.CDLL,  # noqa: ARG001
    looks: tuple[Look, ...],
    height: int,
    width: int,
) -> None:
    """More source rows per tile than the kernel holds at once; a face in the middle, at a corner, and a small one."""
    frame, framing = noise_frame(height, height, width), Framing(looks, 256)
    for box in (Box(0.3 * width, 0.2 * height, 171.3, 230.8), Box(-20, -30.5, 160, 190), Box(90.2, 80.7, 33, 40)):
        got, _ = crop_on_host(frame, look_rectangles(framing, frame, box, 0.25), 256)
        np.testing.assert_array_equal(got, frame_face(framing, frame, box, 0.25).pixels)


def test_the_order_in_which_threads_run_changes_nothing(host_crops: ctypes.CDLL) -> None:
    frame, wanted = noise_frame(4, 120, 90), [(-3, 2, 91, 117)]
    forward, _ = crop_on_host(frame, wanted, 40)
    host_crops.set_reverse(1)
    try:
        backward, _ = crop_on_host(frame, wanted, 40)
    finally:
        host_crops.set_reverse(0)
    np.testing.assert_array_equal(forward, backward)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 12), st.integers(1, 300))
def test_the_space_for_a_short_side_holds_every_filter_of_it(
    host_crops: ctypes.CDLL,  # noqa: ARG001
    side: int,
    elongation: int,
    size: int,
) -> None:
    taps = taps_for(side, size)
    frame, wanted = noise_frame(1, 2, 2), [(0, 0, side, side * elongation + elongation - 1), (3, 0, side * 2, side)]
    # With room for one more nothing is cut off, so a filter that needs more than was made would show as one.
    _, plans = crop_on_host(frame, wanted, size, taps=taps + 1)
    axes = plans[:, PLAN_HEADER:].reshape(2, 2, taps + 3, size)
    assert axes[:, :, 1].max() <= taps


def test_a_filter_beyond_the_space_is_cut_off_and_writes_nowhere_else(host_crops: ctypes.CDLL) -> None:
    assert host_crops
    _, plans = crop_on_host(noise_frame(2, 90, 90), [(0, 0, 90, 90)], 9, taps=3)
    axes = plans[0, PLAN_HEADER:].reshape(2, 5, 9)
    assert (axes[:, 1] == 3).all()
    assert (axes[:, 2:] >= 0).all()  # weights, none of them left as it was filled
