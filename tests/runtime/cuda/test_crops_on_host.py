"""The crop kernels, built for the host, against Pillow."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.runtime.cuda.crops import (
    PLAN_EMPTY,
    PLAN_HEADER,
    PLAN_TOO_LARGE,
    ColourMatrix,
    colour_coefficients,
    taps_for,
)
from tests.runtime.cuda.crop_reference import Box, crop_with_pillow, pillow_may_start_with_columns, rgb_from_nv12

Array = npt.NDArray[Any]


class HostCrops:
    """What CudaCrops.enqueue launches."""

    def __init__(self, library: ctypes.CDLL, size: int, largest_side: int = 200) -> None:
        self.library, self.size, self.taps = library, size, taps_for(largest_side, size)
        self.status: Array = np.zeros(0)

    def _plans(self, boxes: Sequence[Box], dtype: npt.DTypeLike) -> Array:
        values = np.array(boxes, dtype).reshape(-1, 4)
        plans = np.full((len(values), PLAN_HEADER + 2 * (self.taps + 2) * self.size), -(2**30), np.int32)
        integers = int(np.dtype(dtype) == np.int32)
        shape = integers, self.size, self.taps
        self.library.crop_weights(_pointer(values), *shape, _pointer(plans), len(values))
        self.status = plans[:, 0]
        return plans

    def _crop(self, name: str, planes: tuple[Array, Array], plans: Array, matrix: Sequence[int]) -> Array:
        first, second = planes
        height, width = first.shape[:2]
        out = np.full((len(plans), self.size, self.size, 3), 77, np.uint8)
        pitches = ctypes.c_longlong(first.strides[0]), ctypes.c_longlong(second.strides[0])
        shape = width, height, *matrix, _pointer(plans), self.size, self.taps, _pointer(out), len(plans)
        getattr(self.library, name)(_pointer(first), _pointer(second), *pitches, *shape)
        return out

    def bgr(self, frame: Array, boxes: Sequence[Box], dtype: npt.DTypeLike = np.float32) -> Array:
        return self._crop("crop_bgr", (frame, frame), self._plans(boxes, dtype), (0,) * 5)

    def nv12(self, luma: Array, chroma: Array, boxes: Sequence[Box], matrix: ColourMatrix) -> Array:
        plans = self._plans(boxes, np.float32)
        return self._crop("crop_nv12", (luma, chroma), plans, colour_coefficients(matrix))


def _pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def noise_frame(seed: int, height: int, width: int, padding: int = 0) -> Array:
    """Random pixels: the hardest image for a filter. Rows may be padded, as decoders pad them."""
    rows = np.random.default_rng(seed).integers(0, 256, (height, width + padding, 3), dtype=np.uint8)
    return rows[:, :width]


def levels_apart(crop: Array, expected: Array) -> int:
    return int(np.abs(crop.astype(int) - expected.astype(int)).max())


whole_boxes = st.tuples(st.integers(-40, 60), st.integers(-40, 60), st.integers(1, 90), st.integers(1, 90)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
part = st.integers(0, 31).map(lambda units: units / 32)  # float32 and float64 hold these exactly
part_boxes = st.tuples(
    st.integers(-40, 60), st.integers(-40, 60), st.integers(2, 90), st.integers(2, 90), part, part, part
).map(lambda box: (box[0] + box[4], box[1] + box[5], box[0] + box[2] + box[6], box[1] + box[3] + box[4] / 2))


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.lists(whole_boxes, min_size=1, max_size=3))
def test_boxes_of_whole_pixels_equal_the_preprocessing_of_the_crop_byte_for_byte(
    host_crops: ctypes.CDLL, height: int, width: int, size: int, boxes: list[Box]
) -> None:
    frame = noise_frame(height * 64 + width, height, width, padding=3)
    got = HostCrops(host_crops, size).bgr(frame, boxes)
    for crop, box in zip(got, boxes, strict=True):
        # The other order of the two passes rounds other numbers in between: each by a half, so one level at the end.
        allowed = 1 if pillow_may_start_with_columns(box, size) else 0
        assert levels_apart(crop, crop_with_pillow(frame[..., ::-1], box, size)) <= allowed


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.lists(part_boxes, min_size=1, max_size=3))
def test_boxes_of_parts_of_pixels_are_within_one_grey_level_of_pillows_resize_of_a_part(
    host_crops: ctypes.CDLL, height: int, width: int, size: int, boxes: list[Box]
) -> None:
    frame = noise_frame(height * 64 + width, height, width)
    got = HostCrops(host_crops, size).bgr(frame, boxes)
    for crop, box in zip(got, boxes, strict=True):
        assert levels_apart(crop, crop_with_pillow(frame[..., ::-1], box, size)) <= 1  # the order of passes, as above


def test_integer_boxes_give_what_the_same_float_boxes_give(host_crops: ctypes.CDLL) -> None:
    frame, boxes = noise_frame(1, 60, 70), [(3, 4, 50, 61), (-9, 20, 33, 47)]
    crops = HostCrops(host_crops, 24)
    np.testing.assert_array_equal(crops.bgr(frame, boxes, np.int32), crops.bgr(frame, boxes))


@pytest.mark.parametrize("side", [300, 301, 1000])
def test_a_face_of_real_size_equals_pillow(host_crops: ctypes.CDLL, side: int) -> None:
    """More source rows per tile than the kernel holds at once, at the real output size."""
    frame = noise_frame(2, 720, 1280)
    box = (-20.0, 40.0, -20.0 + side, 40.0 + side * 1.25)
    got = HostCrops(host_crops, 256, largest_side=1024).bgr(frame, [box])
    np.testing.assert_array_equal(got[0], crop_with_pillow(frame[..., ::-1], box, 256))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 24), whole_boxes, st.sampled_from(["bt601", "bt709"]))
def test_nv12_is_within_one_grey_level_of_converting_first(
    host_crops: ctypes.CDLL, half_height: int, half_width: int, size: int, box: Box, matrix: ColourMatrix
) -> None:
    rng = np.random.default_rng(half_height * 64 + half_width)
    luma = rng.integers(0, 256, (2 * half_height, 2 * half_width + 6), dtype=np.uint8)[:, : 2 * half_width]
    chroma = rng.integers(0, 256, (half_height, 2 * half_width + 2), dtype=np.uint8)[:, : 2 * half_width]
    got = HostCrops(host_crops, size).nv12(luma, chroma, [box], matrix)[0]
    expected = crop_with_pillow(rgb_from_nv12(luma, chroma, matrix), box, size)
    # 16-bit coefficients round another way than float64 in few pixels, by one level; the filter keeps it at one.
    assert levels_apart(got, expected) <= 1


def test_nv12_in_bt601_agrees_with_opencvs_conversion(host_crops: ctypes.CDLL) -> None:
    rng = np.random.default_rng(3)
    luma = rng.integers(16, 236, (32, 32), dtype=np.uint8)
    chroma = rng.integers(16, 241, (16, 32), dtype=np.uint8)
    expected = cv2.cvtColor(np.concatenate([luma, chroma]), cv2.COLOR_YUV2RGB_NV12)
    got = HostCrops(host_crops, 32).nv12(luma, chroma, [(0, 0, 32, 32)], "bt601")[0]
    assert levels_apart(got, expected) <= 1  # OpenCV rounds its coefficients to three digits


def test_the_order_in_which_threads_run_changes_nothing(host_crops: ctypes.CDLL) -> None:
    frame, crops = noise_frame(4, 120, 90), HostCrops(host_crops, 40)
    forward = crops.bgr(frame, [(-3.5, 2, 88, 119)])
    host_crops.set_reverse(1)
    try:
        backward = crops.bgr(frame, [(-3.5, 2, 88, 119)])
    finally:
        host_crops.set_reverse(0)
    np.testing.assert_array_equal(forward, backward)


@pytest.mark.parametrize(
    ("box", "status"),
    [
        ((10, 10, 10, 20), PLAN_EMPTY),
        ((10, 20, 20, 10), PLAN_EMPTY),
        ((float("nan"), 0, 10, 10), PLAN_EMPTY),
        ((0, 0, float("inf"), 10), PLAN_EMPTY),
        ((0, 0, 3e9, 3e9), PLAN_EMPTY),
        ((0, 0, 5000, 5000), PLAN_TOO_LARGE),
    ],
)
def test_a_box_that_cannot_be_cropped_gives_zeros_and_says_so(host_crops: ctypes.CDLL, box: Box, status: int) -> None:
    crops = HostCrops(host_crops, 16, largest_side=100)
    got = crops.bgr(noise_frame(5, 30, 30), [(0, 0, 20, 20), box])
    assert crops.status.tolist() == [0, status]
    assert got[0].any()
    assert not got[1].any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 12), st.integers(1, 300))
def test_the_space_made_for_a_largest_side_holds_every_box_up_to_it(
    host_crops: ctypes.CDLL, side: int, elongation: int, size: int
) -> None:
    crops = HostCrops(host_crops, size, largest_side=side)
    crops._plans([(0, 0, side, side * elongation + elongation - 1), (0.5, 0, side * 1.5, side)], np.float32)
    assert crops.status.tolist() == [0, 0]
