"""Faces of frames that are framed where the engine is, on a played GPU whose crop kernels are the real source."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.errors import EngineError, MediaError
from protoleak.faces.crops import frame_face, frame_faces
from protoleak.images.framing import Box
from protoleak.runtime.executors import FrameToCrop
from protoleak.runtime.pipeline import FramedFace, ImagePipeline

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")

from tests.runtime.executors.played_executor import ExecutorWorker, opened
from tests.tiny_bundle import IMAGE_SIZE, make_image

MARGIN = 0.25
FRAMES = [make_image(0, 1, 120, 200), make_image(1, 2, 90, 70)]
# Two faces in one frame, one of them over its border, and one in another frame of another size.
FACES = [
    (FRAMES[0], Box(40.4, 30.2, 50, 61.5)),
    (FRAMES[0], Box(150.5, -10, 60, 55)),
    (FRAMES[1], Box(5, 20, 44, 40)),
]


@pytest.fixture(params=["tiny_bundle", "tiny_look_bundle"])
def played(
    request: pytest.FixtureRequest, plan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[ImagePipeline, ExecutorWorker]:
    """A pipeline on a played GPU: of a bundle with the one look `image`, and of one with three."""
    monkeypatch.setenv("PROTOLEAK_CACHE", str(plan_folder))
    bundle = Bundle.load(request.getfixturevalue(request.param))
    executor, worker = opened(monkeypatch, bundle)
    monkeypatch.setattr("protoleak.runtime.opening.open_executor", lambda *_, **__: executor)
    return ImagePipeline(bundle, engine="tensorrt-rtx"), worker


def test_faces_have_the_hosts_pixels_and_the_verdicts_of_faces_framed_there(
    played: tuple[ImagePipeline, ExecutorWorker],
) -> None:
    pipeline, _ = played
    for _ in range(3):  # plain, captured, replayed
        on_gpu = frame_faces(pipeline, FACES, MARGIN)
        on_host = [frame_face(pipeline.framing, image, box, MARGIN) for image, box in FACES]
        for one, other in zip(on_gpu, on_host, strict=True):
            assert one.array is not None
            assert one.lacking == other.lacking
            np.testing.assert_array_equal(one.pixels, other.pixels)
        for verdict, other_verdict in zip(pipeline.each(on_gpu), pipeline.each(on_host), strict=True):
            assert not isinstance(verdict, Exception)
            assert not isinstance(other_verdict, Exception)
            assert verdict.input == other_verdict.input
            assert (verdict.label, verdict.log_density) == (other_verdict.label, other_verdict.log_density)


def test_a_frame_goes_up_once_and_its_crops_to_the_encoder_without_the_host(
    played: tuple[ImagePipeline, ExecutorWorker],
) -> None:
    pipeline, worker = played
    looks = len(pipeline.framing.looks)
    for _ in range(2):
        before = len(worker.log)
        framed = frame_faces(pipeline, FACES, MARGIN)
    one = "upload upload crop_weights crop_rgb"  # the frame, its rectangles
    assert worker.since(before) == f"allocate {3 * looks} {one} {one} read"
    for captures in (0, 1, 0):
        before = len(worker.log)
        list(pipeline.each(framed))
        assert "upload" not in worker.since(before)
        assert worker.log[before:].count("copy") == 1  # into the memory that the CUDA graph reads
        assert worker.log[before:].count("capture") == captures
    # What is framed later lies elsewhere, and needs no graph of its own.
    other = frame_faces(pipeline, FACES, MARGIN)
    before = len(worker.log)
    list(pipeline.each(other))
    assert worker.since(before).startswith("copy launch")


def test_what_is_framed_meanwhile_changes_no_face_that_waits(played: tuple[ImagePipeline, ExecutorWorker]) -> None:
    pipeline, _ = played
    (expected,) = pipeline.each([frame_face(pipeline.framing, *FACES[0], MARGIN)])
    waiting = frame_faces(pipeline, FACES[:1], MARGIN)
    for _ in range(3):
        frame_faces(pipeline, FACES[1:2], MARGIN)  # let go at once: its memory may be had again
        gc.collect()
    (found,) = pipeline.each(waiting)
    assert not isinstance(expected, Exception)
    assert not isinstance(found, Exception)
    assert found.log_density == expected.log_density


def test_more_faces_than_a_plan_takes_are_judged_in_parts(played: tuple[ImagePipeline, ExecutorWorker]) -> None:
    pipeline, _ = played
    faces = [*FACES, *FACES]
    found = list(pipeline.each(frame_faces(pipeline, faces, MARGIN), batch_size=6))
    on_host = list(pipeline.each([frame_face(pipeline.framing, *face, MARGIN) for face in faces], batch_size=6))
    assert [one.input for one in found] == [one.input for one in on_host]  # type: ignore[union-attr]
    assert [one.log_density for one in found] == [one.log_density for one in on_host]  # type: ignore[union-attr]


def test_an_incomplete_set_of_looks_an_empty_rectangle_and_a_closed_executor_are_named(
    monkeypatch: pytest.MonkeyPatch, look_bundle: Bundle
) -> None:
    executor, _ = opened(monkeypatch, look_bundle)
    square = (0, 0, IMAGE_SIZE, IMAGE_SIZE)
    with pytest.raises(EngineError, match="2 images for a bundle with 3 looks"):
        executor.frame([FrameToCrop(FRAMES[0], [square] * 2)])
    with pytest.raises(MediaError, match="rectangle 2 of 0×9 pixels at 4,4 is empty"):
        executor.frame([FrameToCrop(FRAMES[0], [square, square, (4, 4, 0, 9)])])
    executor.close()
    with pytest.raises(EngineError, match="closed"):
        executor.frame([FrameToCrop(FRAMES[0], [square] * 3)])


def test_an_engine_on_the_processor_leaves_the_framing_to_it(tiny_look_bundle: Path) -> None:
    with ImagePipeline(tiny_look_bundle, engine="onnxruntime", threads=1) as pipeline:
        for framed, (image, box) in zip(frame_faces(pipeline, FACES, MARGIN), FACES, strict=True):
            assert isinstance(framed, FramedFace)
            assert framed.array is None
            np.testing.assert_array_equal(framed.pixels, frame_face(pipeline.framing, image, box, MARGIN).pixels)
        assert frame_faces(pipeline, [], MARGIN) == []
