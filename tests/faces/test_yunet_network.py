"""Two libraries run YuNet: they find the same faces, and a model of a fixed size is run by the one that can."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from protoleak.errors import MediaError
from protoleak.faces.yunet_network import OnnxRuntimeNetwork, OpenCvNetwork, Rows, open_network

SCORE = 0.6


def by_score(rows: Rows) -> Rows:
    return rows[np.argsort(-rows[:, -1])]


def of_fixed_size(file: Path, side: int) -> bytes:
    """The model as those before 2025 state their input."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(file))
    for axis in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.dim_value = side
    serialised: bytes = model.SerializeToString()
    return serialised


@pytest.mark.parametrize("shape", [(360, 640), (333, 222), (90, 160)])
def test_onnx_runtime_and_opencv_find_the_same_faces(
    yunet_file: Path, clip_frames: list[np.ndarray], shape: tuple[int, int]
) -> None:
    model = yunet_file.read_bytes()
    networks = OnnxRuntimeNetwork(model, "face.onnx", SCORE), OpenCvNetwork(model, "face.onnx", SCORE)
    found = 0
    for frame in clip_frames[::3]:
        image = cv2.resize(frame, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        ours, theirs = (by_score(network(image)) for network in networks)
        assert len(ours) == len(theirs)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)  # pixels; float32 sums in another order
        found += len(ours)
    assert found


def test_two_detections_of_one_face_are_one(yunet_file: Path, clip_frames: list[np.ndarray]) -> None:
    network = OnnxRuntimeNetwork(yunet_file.read_bytes(), "face.onnx", 0.1)
    rows = network(clip_frames[0])
    assert 1 <= len(rows) < 20  # hundreds of places around a face say that it is there


def test_a_model_of_a_fixed_size_takes_images_of_any(yunet_file: Path, clip_frames: list[np.ndarray]) -> None:
    network = open_network(of_fixed_size(yunet_file, 640), "face.onnx", SCORE)
    expected = open_network(yunet_file.read_bytes(), "face.onnx", SCORE)
    assert isinstance(network, OpenCvNetwork)
    assert isinstance(expected, OnnxRuntimeNetwork)
    np.testing.assert_allclose(by_score(network(clip_frames[0])), by_score(expected(clip_frames[0])), atol=2e-3)


def test_cameras_of_several_sizes_share_the_networks_that_opencv_opened_for_them(
    yunet_file: Path, clip_frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    create = cv2.FaceDetectorYN.create
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *given: (opened.append(given[3]), create(*given))[1])
    find = OpenCvNetwork(yunet_file.read_bytes(), "face.onnx", SCORE)
    frames = [clip_frames[0], clip_frames[0][:, 20:500]]
    expected = [find(frame) for frame in frames]
    assert len(opened) == 2
    for frame, rows in zip(frames * 3, expected * 3, strict=True):
        np.testing.assert_array_equal(find(frame), rows)
    assert len(opened) == 2


def test_a_model_that_onnx_runtime_refuses_is_one_line(yunet_file: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(yunet_file))
    model.graph.node[0].op_type = "Convolution"  # which ONNX calls Conv
    with pytest.raises(MediaError, match=r"^ONNX Runtime .* cannot load face\.onnx: [^\n]*$"):
        open_network(model.SerializeToString(), "face.onnx", SCORE)
