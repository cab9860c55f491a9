"""The executor on the GPU, on a played one (see played_executor.py). tests/gpu has the real thing."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.errors import BundleError, EngineError, MediaError
from protoleak.runtime.executors import ExpectedShapes, Graphs, open_executor
from protoleak.runtime.noising import Noising

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")

from tests.runtime.cuda.test_arrays import InterfaceArray
from tests.runtime.executors.played_executor import aligned, make_images, opened
from tests.runtime.test_pipeline import nan_for_bright_images
from tests.tiny_bundle import IMAGE_SIZE

SHAPE = (IMAGE_SIZE, IMAGE_SIZE, 3)
PLAIN = "z0 check noising outputs"
CAPTURED = "capture (z0) (check) (noising) (outputs) launch"


def on_cpu(bundle: Bundle, images: np.ndarray) -> dict[str, np.ndarray]:
    graphs = Graphs.of_variant(bundle.variant("fp32"))
    executor = open_executor("onnxruntime", graphs, bundle.manifest, bundle.noise_bank, threads=1)
    return executor.run(images).outputs


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) >= set(expected)
    for name, values in expected.items():
        # The played plan is ONNX Runtime's with more threads and a batch: rounding of float32 sums.
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_outputs_are_those_of_the_host_executor_for_new_images_with_and_without_a_graph(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    executor, _ = opened(monkeypatch, bundle)
    for run in range(4):  # plain, captured, replayed twice
        images = make_images(3, 10 * run)
        same(executor.run(images).outputs, on_cpu(bundle, images))
    assert executor.captured == (3,)


def test_second_run_of_a_batch_size_captures_and_nothing_between_the_stages_touches_the_host(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    executor, worker = opened(monkeypatch, bundle)
    executor.run(make_images(2))
    for expected in (f"upload {CAPTURED} {PLAIN} download", f"upload launch {PLAIN} download"):
        before = len(worker.log)
        executor.run(make_images(2))
        assert worker.since(before) == expected


def test_stages_are_given_when_asked_for(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    executor, _ = opened(monkeypatch, bundle)
    images = make_images(6)
    given = executor.run(images, stages=True)
    assert given.z0 is not None
    assert given.z_t is not None
    expected = Noising.of(bundle.manifest, bundle.noise_bank)(given.z0)
    np.testing.assert_allclose(given.z_t, expected, rtol=1e-5, atol=1e-5)  # float32 sums of the low-frequency half
    same(given.outputs, on_cpu(bundle, images))
    assert executor.run(images).z0 is None


def test_a_closed_executor_runs_nothing_and_closes_again(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    executor, worker = opened(monkeypatch, bundle)
    executor.run(make_images(1))
    executor.close()
    executor.close()
    assert worker.log.count("close") == 1
    with pytest.raises(EngineError, match="closed: open the bundle again"):
        executor.run(make_images(1))


def test_a_batch_larger_than_the_plan_is_run_in_parts_in_order(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    executor, _ = opened(monkeypatch, bundle)
    images = make_images(9)
    same(executor.run(images).outputs, on_cpu(bundle, images))
    assert executor.run(images).outputs["log_density"].shape == (9,)


def test_a_callers_array_is_read_where_it_lies_and_has_a_graph_of_its_own(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    executor, worker = opened(monkeypatch, bundle)
    theirs = [aligned(make_images(2, seed)) for seed in (0, 50)]
    for turn in range(3):
        for values in theirs:
            one, two = executor.take("images", InterfaceArray(values))
            assert (one.array.pointer, two.array.pointer) == (values.ctypes.data, values.ctypes.data + values[0].nbytes)
            before = len(worker.log)
            taken = worker.take("images", InterfaceArray(values))
            same(executor.run(taken).outputs, on_cpu(bundle, values))
            assert "upload" not in worker.since(before)
            assert "copy" not in worker.since(before)
            values[...] = values[::-1].copy()  # a graph must read what is there when it is launched
        assert executor.captured == ((), (2, 2), (2, 2))[turn]


def test_a_callers_array_that_is_not_aligned_is_copied_on_the_gpu(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    executor, worker = opened(monkeypatch, bundle)
    values = aligned(make_images(1), offset=16)
    before = len(worker.log)
    same(executor.run(worker.take("images", InterfaceArray(values))).outputs, on_cpu(bundle, values))
    assert worker.log[before:].count("copy") == 1
    assert "upload" not in worker.since(before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, *SHAPE), np.float32), "images is of float32; expected uint8"),
        (np.zeros((80, 72, 3), np.uint8), r"images has the shape \[1, 80, 72, 3\]; expected \[any, 64, 64, 3\]"),
        (np.zeros((2, 3, 64, 64), np.uint8), r"\[2, 3, 64, 64\].*give a NumPy array of any size"),
        (np.zeros((64, 128, 3), np.uint8)[:, ::2], "strides"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, values: np.ndarray, message: str
) -> None:
    executor, _ = opened(monkeypatch, bundle)
    with pytest.raises(MediaError, match=message):
        executor.take("images", InterfaceArray(values))


def test_a_latent_that_is_nan_is_an_error_naming_the_latent_encoder(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tiny_files: tuple[Manifest, dict[str, bytes]]
) -> None:
    executor, _ = opened(monkeypatch, bundle, nan_for_bright_images(tiny_files[1]))
    images = make_images(2)
    images[1] = 255
    for _ in range(3):  # plain, captured, replayed
        with pytest.raises(EngineError, match="latent encoder gave 256 of 512 values of 'z0' as NaN"):
            executor.run(images)


def test_a_capture_that_is_refused_is_reported_once_recorded_and_done_without(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    notes: list[str] = []
    executor, worker = opened(monkeypatch, bundle, notify=notes.append)
    assert executor.describe().settings["cuda_graph"].startswith("one per batch size")
    worker.refuses_capture = True
    images = make_images(2)
    for _ in range(3):
        same(executor.run(images).outputs, on_cpu(bundle, images))
    assert notes == [
        "no CUDA graph from here on, which is slower: the latent encoder cannot be captured in a CUDA graph for batch "
        "size 2: operation not permitted when stream is capturing"
    ]
    assert executor.describe().settings["cuda_graph"].startswith("no: the latent encoder cannot be captured")
    assert executor.captured == ()


def test_stages_are_timed_only_when_asked_and_then_without_a_graph(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    executor, _ = opened(monkeypatch, bundle)
    assert set(executor.run(make_images(1)).milliseconds) == {"gpu"}
    executor, _ = opened(monkeypatch, bundle, stage_times=True)
    for _ in range(3):
        spent = executor.run(make_images(6)).milliseconds
        assert [*spent] == ["upload", "latent_encoder", "noising", "attributor", "download"]
        assert all(value > 0 for value in spent.values())
    assert executor.captured == ()
    assert executor.describe().settings["cuda_graph"] == "no: stages are timed"


def test_a_graph_that_contradicts_the_manifest_is_a_bundle_error(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    import msgspec

    executor, _ = opened(monkeypatch, bundle)
    changed = msgspec.structs.replace(bundle.manifest, embedding_size=7)
    executor._shapes = ExpectedShapes(bundle.path, changed)
    with pytest.raises(BundleError, match=r"'embedding' as \[1, 24\], the manifest asks for \[1, 7\]"):
        executor.run(make_images(1))
