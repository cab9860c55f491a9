"""Still images face by face: as many verdicts as faces, in the order of the images, each with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.faces.base import Face
from protoleak.faces.crops import face_crop
from protoleak.faces.settings import FaceSettings
from protoleak.faces.still_images import FaceVerdict, screen_faces
from protoleak.images.framing import Box
from protoleak.images.preprocess import preprocess
from protoleak.screener import Screener
from tests.tiny_bundle import make_image

SETTINGS = FaceSettings(margin=0.1)
LEFT, RIGHT = Box(10, 12, 60, 64), Box(130, 30, 50, 40)


class TwoFaces:
    """Finds the same two faces in every image that isn't black."""

    description = "two faces"

    def __call__(self, image: UInt8Array) -> list[Face]:
        return [Face(LEFT, 0.9), Face(RIGHT, 0.8)] if image.any() else []


@pytest.fixture(scope="module")
def screener(tiny_bundle: Path) -> Screener:
    return Screener(tiny_bundle, engine="onnxruntime", threads=1)


@pytest.fixture
def images() -> list[UInt8Array]:
    return [make_image(kind, seed, 120, 200) for seed, kind in enumerate((0, 1, 2))]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_face_gets_the_verdict_of_its_crop_whatever_goes_through_together(
    screener: Screener, images: list[UInt8Array], batch_size: int
) -> None:
    size = screener.bundle.manifest.preprocessing.image_size
    outcomes = list(screen_faces(screener, TwoFaces(), images, SETTINGS, batch_size))
    assert [len(faces) for faces in outcomes] == [2, 2, 2]
    for image, faces in zip(images, outcomes, strict=True):
        for box, face in zip((LEFT, RIGHT), faces, strict=True):
            assert isinstance(face, FaceVerdict)
            (alone,) = screener([preprocess(Image.fromarray(face_crop(image, box, SETTINGS.margin)), size)])
            assert (face.label, face.input.sha256) == (alone.label, alone.input.sha256)
            assert face.log_density == pytest.approx(alone.log_density, rel=1e-4)  # batches round differently
            assert (face.box.left, face.box.width) == (box.left, box.width)


def test_image_without_a_face_keeps_its_place_as_an_error_with_its_notes(
    screener: Screener, images: list[UInt8Array], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 60)).save(tmp_path / "black.jpg", exif=exif)
    broken = MediaError("gone.png: no such file")
    outcomes = list(
        screen_faces(screener, TwoFaces(), [images[0], tmp_path / "black.jpg", broken, images[1]], SETTINGS, 8)
    )
    assert [len(faces) for faces in outcomes] == [2, 1, 1, 2]
    assert "black.jpg: no face of 32 pixels or more" in str(outcomes[1][0])
    assert "turned upright as EXIF orientation 6 says" in str(outcomes[1][0])
    assert outcomes[2] == [broken]


def test_verdict_names_the_image_and_the_face_in_json(screener: Screener, tmp_path: Path) -> None:
    file = tmp_path / "two.png"
    Image.fromarray(np.asarray(make_image(0, 1, 120, 200))).save(file)
    ((first, _),) = screen_faces(screener, TwoFaces(), [str(file)], SETTINGS, 8)
    assert isinstance(first, FaceVerdict)
    plain = first.to_dict()
    assert next(iter(plain)) == "source"  # where resuming looks for it
    assert plain["source"] == str(file)
    assert (plain["image"]["width"], plain["image"]["hashed"]) == (200, "file")
    assert plain["input"]["hashed"] == "pixels"
    assert plain["box"] == {"left": 10, "top": 12, "width": 60, "height": 64}
