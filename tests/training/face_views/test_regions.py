"""Regions: how large they are, and where the face is in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.training.face_views.regions import SMALLEST_SIDE, Style, ffhq_matrix, moved
from protoleak.training.face_views.view import FaceView
from tests.training.face_views.dotted_face import FACE, LANDMARKS, dotted


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
