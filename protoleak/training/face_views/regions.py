"""Which part of an image a view shows, at which size, and where its face is then."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from protoleak.arrays import Float64Array, UInt8Array
from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.training.face_views.resampling import resize

Style = Literal["whole", "loose", "tight", "ffhq"]
SMALLEST_SIDE, LARGEST_SIDE = 96, 1280  # of a view before its second resize, in pixels, where the image allows it
LARGEST_ENLARGEMENT = 1.6


def cut_out(
    image: UInt8Array,
    face: Face,
    style: Style,
    region: tuple[float, float, float, float],
    face_side: float | None,
    resampler: str,
) -> tuple[UInt8Array, Face]:
    """The part of an image uint8 [H, W, 3] that a view shows, uint8 [h, w, 3], and where its face is in it.

    Args:
        style, region, face_side, resampler: see `FaceView`.
    """
    if style == "ffhq" and face.landmarks is not None:
        return _aligned(image, face, np.array(face.landmarks), region, face_side)
    left, top, right, bottom = _edges(image, face, style, region)
    pixels = np.ascontiguousarray(image[top:bottom, left:right])
    place = moved(face, np.array([[1.0, 0, -left], [0, 1.0, -top]]))
    height, width = pixels.shape[:2]
    scale = 1.0 if face_side is None else min(face_side / _side(face), LARGEST_ENLARGEMENT)
    scale = max(scale, min(SMALLEST_SIDE / min(height, width), LARGEST_ENLARGEMENT))
    scale = min(scale, LARGEST_SIDE / max(height, width))
    if scale != 1.0:
        new = max(32, round(width * scale)), max(32, round(height * scale))
        pixels = resize(pixels, *new, resampler)
        place = moved(place, np.array([[new[0] / width, 0, 0], [0, new[1] / height, 0]]))
    return pixels, place


def _aligned(
    image: UInt8Array,
    face: Face,
    landmarks: Float64Array,
    region: tuple[float, float, float, float],
    face_side: float | None,
) -> tuple[UInt8Array, Face]:
    """Aligned by float64 [5, 2] landmarks as FFHQ is: warped to a square, with the face level in its middle."""
    height, width = image.shape[:2]
    zoom, _, shift_x, shift_y = region
    unit = ffhq_matrix(landmarks, zoom, (shift_x, shift_y), 1.0)
    scale = float(np.hypot(*unit[0, :2]))  # of a square of side 1, per pixel of the image
    native = 1 / scale
    wanted = native if face_side is None else min(face_side / (_side(face) * scale), native * LARGEST_ENLARGEMENT)
    side = int(min(max(wanted, SMALLEST_SIDE), LARGEST_SIDE))
    over = 2 * side if 2 * side < 1.5 * native else side  # FFHQ is warped large, then reduced by Lanczos
    matrix, source = unit * over, image
    reduce = native / over
    if reduce > 2:  # keeps the warp from aliasing
        small = (max(1, round(width * 1.5 / reduce)), max(1, round(height * 1.5 / reduce)))
        source = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA))
        matrix = matrix @ np.array([[width / small[0], 0, 0], [0, height / small[1], 0], [0, 0, 1]])
    warped = cv2.warpAffine(source, matrix, (over, over), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    pixels: UInt8Array = np.asarray(warped, np.uint8)
    return pixels if over == side else resize(pixels, side, side, "lanczos"), moved(face, unit * side)


def _edges(
    image: UInt8Array, face: Face, style: Style, region: tuple[float, float, float, float]
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the region, in pixels of the image: all of it for `whole`, or where the region
    would be too small; a loose region for `ffhq`, which is asked for here where a face has no landmarks."""
    height, width = image.shape[:2]
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if style != "whole":
        longer, aspect, share_x, share_y = region if style != "ffhq" else (2.4, 1.0, 0.5, 0.5)
        wide = longer * _side(face) * min(1.0, aspect)
        tall = longer * _side(face) * min(1.0, 1 / aspect)
        x, y = face.box.centre
        left, top = max(0.0, x - share_x * wide), max(0.0, y - share_y * tall)
        right, bottom = min(float(width), left + wide), min(float(height), top + tall)
        if right - left < 32 or bottom - top < 32:
            left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    return round(left), round(top), round(right), round(bottom)


def moved(face: Face, matrix: Float64Array) -> Face:
    """A face after an affine map float64 [2, 3] of its image. The box keeps its shape: its centre is mapped, and its
    sides are multiplied with the square root of the map's determinant, which is exact for similarities."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    x, y = matrix[:, :2] @ np.array(face.box.centre) + matrix[:, 2]
    width, height = face.box.width * scale, face.box.height * scale
    landmarks = face.landmarks
    if landmarks is not None:
        points = np.array(landmarks) @ matrix[:, :2].T + matrix[:, 2]
        landmarks = tuple((float(one), float(other)) for one, other in points)
    return Face(Box(float(x - width / 2), float(y - height / 2), width, height), face.score, landmarks)


def ffhq_matrix(landmarks: Float64Array, zoom: float, shift: tuple[float, float], side: float) -> Float64Array:
    """The similarity [2, 3] of FFHQ's alignment, from YuNet's five landmarks to a square of that side."""
    right_eye, left_eye, _, right_mouth, left_mouth = landmarks
    if right_eye[0] > left_eye[0]:  # a flipped image
        right_eye, left_eye, right_mouth, left_mouth = left_eye, right_eye, left_mouth, right_mouth
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    eye_to_eye, eye_to_mouth = left_eye - right_eye, mouth - eyes
    x = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8) / max(np.hypot(*x), 1e-6) * zoom
    y = np.array([-x[1], x[0]])
    centre = eyes + eye_to_mouth * 0.1 + 2 * shift[0] * x + 2 * shift[1] * y
    rows = np.stack([x, y]) / (x @ x) * (side / 2)
    return np.concatenate([rows, (side / 2 - rows @ centre)[:, None]], axis=1)


def _side(face: Face) -> float:
    """The longer side of its box."""
    return max(face.box.width, face.box.height)


def jittered(face: Face, x: float, y: float, scale: float) -> Face:
    """A face as another detector, or another frame, might have found it."""
    centre_x, centre_y = face.box.centre
    width, height = face.box.width * scale, face.box.height * scale
    left, top = centre_x + x * _side(face) - width / 2, centre_y + y * _side(face) - height / 2
    return Face(Box(left, top, width, height), face.score, face.landmarks)
