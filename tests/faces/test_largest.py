"""The largest face of an image, found in several threads and processes."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.largest import LargestFace
from tests.look_bundle import SIDE, YUNET, face_image


def test_the_largest_of_several_faces_is_given() -> None:
    image = Image.new("RGB", (2 * SIDE, SIDE), (120, 120, 120))
    image.paste(face_image("none", 1).resize((96, 96)), (20, 40))
    image.paste(face_image("none", 2), (SIDE, 0))
    assert LargestFace(YUNET)(image).box.left > SIDE


def test_threads_find_what_one_thread_finds() -> None:
    find = LargestFace(YUNET)
    images = [face_image("none", seed).resize((SIDE - seed, SIDE)) for seed in range(12)]
    expected = [find(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(find, images * 3)) == expected * 3


def test_a_copy_in_another_process_finds_the_same() -> None:
    find = LargestFace(YUNET)
    copied = pickle.loads(pickle.dumps(find))  # our own bytes
    image = face_image("none", 3)
    assert copied == find
    assert copied(image) == find(image)


def test_landmarks_lie_in_the_face_as_seen_on_the_person() -> None:
    face = LargestFace(YUNET)(face_image("none", 4))
    assert face.landmarks is not None
    right_eye, left_eye, nose, right_mouth, left_mouth = np.array(face.landmarks)
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    for x, y in face.landmarks:
        assert face.box.left < x < face.box.left + face.box.width
        assert face.box.top < y < face.box.top + face.box.height


def test_an_image_without_a_face_and_a_model_that_is_none_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no face of 32 pixels"):
        LargestFace(YUNET)(Image.new("RGB", (90, 90)))
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ProtoleakError, match=r"model\.onnx"):
        LargestFace(tmp_path / "model.onnx")(face_image("none", 1))
