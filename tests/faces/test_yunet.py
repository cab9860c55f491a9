"""YuNet finds real faces, at the size and place where they are, and refuses what is no YuNet model in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from protoleak.errors import ProtoleakError
from protoleak.faces import yunet
from protoleak.faces.base import FOUND_SIDE, SURE_SIDE, reduced
from protoleak.faces.yunet import YuNetDetector
from protoleak.images.framing import Box
from protoleak.images.open import open_image


def detector(file: Path, **options: float) -> YuNetDetector:
    settings = {"score": 0.7, "minimum_face": 48} | options
    return YuNetDetector(file.read_bytes(), file.name, **settings)  # type: ignore[arg-type]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    common = max(0.0, width) * max(0.0, height)
    return common / (one.area + other.area - common)


def on_canvas(face: np.ndarray, side: int, left: int, top: int) -> np.ndarray:
    """The image at `side`×`side` pixels in a grey frame of 1280×720."""
    frame = np.full((720, 1280, 3), 110, np.uint8)
    frame[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return frame


def test_a_face_is_found_in_nearly_every_photograph_of_one(yunet_file: Path, shared: Path) -> None:
    find = detector(yunet_file)
    files = sorted((shared / "data" / "real-faces").glob("*.jpg"))
    if not files:
        pytest.skip("there are no photographs in the shared data folder")
    found = [find(np.asarray(open_image(file).image)) for file in files]
    assert sum(bool(faces) for faces in found) >= 0.95 * len(files)


def test_the_speaker_is_found_in_every_frame_with_confidence(yunet_file: Path, clip_frames: list[np.ndarray]) -> None:
    find = detector(yunet_file)
    for frame in clip_frames:
        faces = find(frame)
        assert faces
        scores = [face.score for face in faces]
        assert scores == sorted(scores, reverse=True)
        assert 0.7 <= scores[-1] <= scores[0] <= 1


def test_boxes_are_in_pixels_of_the_frame_however_large_it_is(yunet_file: Path, clip_frames: list[np.ndarray]) -> None:
    find = detector(yunet_file)
    small = find(clip_frames[0])[0].box
    large = find(cv2.resize(clip_frames[0], (1920, 1080), interpolation=cv2.INTER_CUBIC))[0].box
    assert overlap(small, Box(*(value / 3 for value in (large.left, large.top, large.width, large.height)))) > 0.85


def test_for_live_sources_a_face_is_found_in_fewer_pixels(
    yunet_file: Path, clip_frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = detector(yunet_file)
    for frame in clip_frames[:3]:
        whole, thrifty = find(frame), find.thrifty(FOUND_SIDE)(frame)
        assert len(thrifty) == len(whole)
        assert overlap(whole[0].box, thrifty[0].box) > 0.75
    seen = []
    monkeypatch.setattr(yunet, "reduced", lambda image, side: (seen.append(side), reduced(image, side))[1])
    find.thrifty(FOUND_SIDE)(np.zeros((360, 640, 3), np.uint8))
    find.thrifty(FOUND_SIDE)(np.zeros((1080, 1920, 3), np.uint8))
    assert seen == [320, 640]  # faces of 48 pixels are to have 24; and never more than for files
    seen.clear()
    detector(yunet_file, minimum_face=32).thrifty(SURE_SIDE)(np.zeros((360, 640, 3), np.uint8))
    detector(yunet_file, minimum_face=64).thrifty(SURE_SIDE)(np.zeros((360, 640, 3), np.uint8))
    assert seen[1::2] == [640, 320]  # by default nothing is spared; before each, the model is tried


def test_faces_of_the_minimum_size_in_a_frame_of_1280_by_720_are_found_as_in_the_whole_frame(
    yunet_file: Path, shared: Path
) -> None:
    files = sorted((shared / "data" / "real-headshots").glob("*.jpg"))[:12]
    if not files:
        pytest.skip("there are no portraits in the shared data folder")
    find, find_in_all = detector(yunet_file, minimum_face=1), detector(yunet_file, minimum_face=1, longest_side=1280)
    for index, file in enumerate(files):
        image = cv2.resize(np.asarray(open_image(file).image), (512, 512), interpolation=cv2.INTER_AREA)
        box = find_in_all(image)[0].box
        side = round(512 * 48 / min(box.width, box.height))
        frame = on_canvas(image, side, 40 + 90 * index, 30 + 40 * index)
        expected = find_in_all(frame)[0].box
        assert max(overlap(face.box, expected) for face in find(frame)) > 0.6, file.name


def test_smaller_and_less_certain_faces_are_left_out(yunet_file: Path, clip_frames: list[np.ndarray]) -> None:
    frame = clip_frames[0]
    first = detector(yunet_file)(frame)[0]
    shorter = min(first.box.width, first.box.height)
    assert detector(yunet_file, minimum_face=int(shorter) - 1)(frame)[0].box == first.box
    assert all(face.box.area > first.box.area for face in detector(yunet_file, minimum_face=int(shorter) + 2)(frame))
    assert detector(yunet_file, score=0.99)(frame) == []


@pytest.mark.parametrize("size", [(1, 1), (17, 3), (3, 641), (333, 222)])
def test_frames_of_odd_sizes_are_no_trouble(yunet_file: Path, size: tuple[int, int]) -> None:
    assert detector(yunet_file)(np.full((*size, 3), 120, np.uint8)) == []


def test_frames_may_change_their_size_from_one_to_the_next(yunet_file: Path, clip_frames: list[np.ndarray]) -> None:
    find = detector(yunet_file)
    narrow = clip_frames[0][40:, 20:480]
    first = find(clip_frames[0])[0].box
    second = find(narrow)[0].box
    assert overlap(first, Box(second.left + 20, second.top + 40, second.width, second.height)) > 0.8
    assert find(clip_frames[0])[0].box == first


def test_opening_a_model_prints_nothing(
    yunet_file: Path, clip_frames: list[np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    detector(yunet_file)(clip_frames[0])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [b"", b"GIF89a not a network", b"\x3a\x00", bytes(5000)])
def test_bytes_that_are_no_network_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(ProtoleakError, match=r"face\.onnx is no YuNet model.*model zoo"):
        YuNetDetector(data, "face.onnx", score=0.7, minimum_face=48)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_truncated_model_is_refused(yunet_file: Path, share: float) -> None:
    data = yunet_file.read_bytes()
    with pytest.raises(ProtoleakError, match="is no YuNet model"):
        YuNetDetector(data[: int(share * len(data))], "face.onnx", score=0.7, minimum_face=48)


def test_another_face_detector_is_refused_for_the_output_that_it_lacks(shared: Path) -> None:
    other = shared / "weights" / "ultraface_rfb320.onnx"
    with pytest.raises(ProtoleakError, match="lacks the output 'bbox_16'") as caught:
        detector(other)
    assert "\n" not in str(caught.value)


def test_a_network_with_the_right_names_that_opencv_cannot_run_is_one_line() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx makes the network")
    from protoleak.faces.yunet import OUTPUTS

    nodes = [onnx.helper.make_node("Flatten", ["input"], [name]) for name in sorted(OUTPUTS)]
    values = [onnx.helper.make_tensor_value_info(name, 1, None) for name in sorted(OUTPUTS)]
    image = onnx.helper.make_tensor_value_info("input", 1, [1, 3, 64, 64])
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "wrong", [image], values))
    with pytest.raises(ProtoleakError, match="cannot run wrong") as caught:
        YuNetDetector(model.SerializeToString(), "wrong.onnx", score=0.7, minimum_face=48)
    assert "\n" not in str(caught.value)
