"""Which detector is taken, and what is said where there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.bundle.writer import write_bundle
from protoleak.errors import ProtoleakError
from protoleak.faces import haar
from protoleak.faces import open as choose
from protoleak.faces.crops import face_crop
from protoleak.faces.open import open_detector
from protoleak.faces.settings import FaceSettings


@pytest.fixture
def bundle_with_detector(tiny_files: tuple[Manifest, dict[str, bytes]], yunet_file: Path, tmp_path: Path) -> Bundle:
    import msgspec

    manifest, files = tiny_files
    manifest = msgspec.structs.replace(manifest, face_detector="yunet")
    write_bundle(tmp_path / "with.zip", manifest, files | {FACE_DETECTOR: yunet_file.read_bytes()})
    return Bundle.load(tmp_path / "with.zip")


@pytest.fixture
def without_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (choose, haar):
        monkeypatch.setattr(module, "cascade_file", lambda: None)


def test_auto_takes_the_named_model_before_that_of_the_bundle(bundle_with_detector: Bundle, yunet_file: Path) -> None:
    from_bundle = open_detector(FaceSettings(), bundle_with_detector)
    named = open_detector(FaceSettings(face_model=yunet_file), bundle_with_detector)
    digest = hashlib.sha256(yunet_file.read_bytes()).hexdigest()[:12]
    assert from_bundle.description == f"YuNet, the model in the bundle tiny, SHA-256 {digest}…"
    assert named.description == f"YuNet, {yunet_file}, SHA-256 {digest}…"


def test_the_default_bundle_has_a_detector() -> None:
    assert open_detector(FaceSettings(), Bundle.load()).description.startswith("YuNet, the model in the bundle default")


def test_model_of_a_zipped_bundle_finds_faces(bundle_with_detector: Bundle, clip_frames: list[np.ndarray]) -> None:
    assert open_detector(FaceSettings(), bundle_with_detector)(clip_frames[0])


@pytest.mark.usefixtures("without_cascade")
@pytest.mark.parametrize(
    ("faces", "words"),
    [
        ("auto", "--faces none to judge whole frames"),
        ("yunet", "--face-model FILE"),
        ("haar", "without its face cascade"),
    ],
)
def test_detector_that_is_not_there_is_one_line_with_a_remedy(tiny_bundle: Path, faces: str, words: str) -> None:
    with pytest.raises(ProtoleakError, match=words) as caught:
        open_detector(FaceSettings(faces=faces), Bundle.load(tiny_bundle))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_auto_without_a_model_takes_the_cascade_where_opencv_has_it(
    tiny_bundle: Path, clip_frames: list[np.ndarray]
) -> None:
    if haar.cascade_file() is None:
        pytest.skip(f"OpenCV {cv2.__version__} was built without its face cascade")
    detector = open_detector(FaceSettings(), Bundle.load(tiny_bundle))
    assert detector.description.startswith("OpenCV's cascade")
    assert sum(bool(detector(frame)) for frame in clip_frames) > len(clip_frames) / 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("missing.onnx", None, "no file"), ("text.onnx", b"hello", "no YuNet model")],
)
def test_model_file_that_is_none_is_named(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ProtoleakError, match=words) as caught:
        open_detector(FaceSettings(face_model=tmp_path / name), None)
    assert name in str(caught.value)


@pytest.mark.parametrize("faces", ["none", "haar"])
def test_a_model_that_would_not_be_used_is_refused(faces: str, tmp_path: Path) -> None:
    with pytest.raises(ProtoleakError, match="leave one out"):
        open_detector(FaceSettings(faces=faces, face_model=tmp_path / "x.onnx"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("size", [(360, 640), (641, 359), (100, 100)])
def test_without_faces_the_crop_is_the_centre_square_of_the_frame(size: tuple[int, int], margin: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    (face,) = open_detector(FaceSettings(faces="none", margin=margin), None)(image)
    side = min(size)
    top, left = round((size[0] - side) / 2), round((size[1] - side) / 2)
    np.testing.assert_array_equal(face_crop(image, face.box, margin), image[top : top + side, left : left + side])
