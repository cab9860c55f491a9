"""The whole executor on a GPU: against the processor, with its graph and without, and a thousand times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.engines.availability import availability
from protoleak.runtime.executors import ON_GPU, TENSORRT, Graphs, open_executor

pytest.importorskip("onnx", reason="onnx makes the graphs")
from tests.gpu.agreement import agree
from tests.tiny_bundle import IMAGE_SIZE, make_image

ITERATIONS = 1000

OpenExecutor = Callable[..., Any]


@pytest.fixture(params=ON_GPU)
def engine(request: pytest.FixtureRequest) -> str:
    found = availability(request.param)
    if not found.runs:
        pytest.skip(found.detail)
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Built once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROTOLEAK_CACHE", str(tmp_path_factory.mktemp("plans")))
        yield


@pytest.fixture
def opened(tiny_bundle: Path) -> Iterator[OpenExecutor]:
    executors = []
    bundle = Bundle.load(tiny_bundle)

    def open_one(name: str, **options: Any) -> Any:
        graphs = Graphs.of_variant(bundle.variant("fp32"))
        executor = open_executor(
            name, graphs, bundle.manifest, bundle.noise_bank, location=bundle.path, options=EngineOptions(**options)
        )
        executors.append(executor)
        return executor

    yield open_one
    for executor in executors:
        if hasattr(executor, "close"):
            executor.close()


def make_images(count: int, first: int = 0) -> np.ndarray:
    return np.stack([make_image(seed % 3, first + seed, IMAGE_SIZE, IMAGE_SIZE) for seed in range(count)])


def test_outputs_are_those_of_the_processor(engine: str, opened: OpenExecutor) -> None:
    executor, reference = opened(engine), opened("onnxruntime")
    for run in range(3):  # plain, captured, replayed
        for count in (1, 3, 8, 11):
            images = make_images(count, 100 * run)
            found, expected = executor.run(images).outputs, reference.run(images).outputs
            for name, values in expected.items():
                # fp32 without TF32: float32 sums in another order, through 34 times the latent at timestep 0
                agree(f"{engine}, {name}", found[name], values, rtol=1e-3, atol=1e-3)
    if engine in TENSORRT:
        assert executor.describe().settings["cuda_graph"].startswith("one per batch size"), "the capture was refused"
        assert set(executor.captured) == {1, 3, 8}


def test_several_looks_at_a_face_give_what_they_give_on_the_processor(engine: str, tiny_look_bundle: Path) -> None:
    bundle = Bundle.load(tiny_look_bundle)
    graphs = Graphs.of_variant(bundle.variant("fp32"))
    executor, reference = (
        open_executor(name, graphs, bundle.manifest, bundle.noise_bank, location=bundle.path)
        for name in (engine, "onnxruntime")
    )
    for run in range(3):  # plain, captured, replayed
        for faces in (1, 3):
            images = make_images(3 * faces, 100 * run)  # every look another image: one in another's place would show
            found, expected = executor.run(images).outputs, reference.run(images).outputs
            for name, values in expected.items():
                # see above
                agree(f"{engine}, {name}", found[name], values, rtol=1e-3, atol=1e-3)
    executor.close()


def test_a_graph_gives_the_same_bits_as_no_graph(engine: str, opened: OpenExecutor) -> None:
    executor, plain = opened(engine), opened(engine, cuda_graph=False)
    for run in range(4):
        for count in (2, 5):  # in turns: a graph must not depend on what ran last
            images = make_images(count, 50 * run)
            found, expected = executor.run(images).outputs, plain.run(images).outputs
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert set(executor.captured) == ({2, 5} if engine in TENSORRT else set())
    assert plain.captured == ()


def test_faces_of_frames_are_framed_on_the_gpu_with_the_hosts_pixels_and_verdicts(
    engine: str, tiny_look_bundle: Path
) -> None:
    from protoleak.faces.crops import frame_face, frame_faces
    from protoleak.images.framing import Box

    frames = [make_image(0, 1, 360, 640), make_image(1, 2, 720, 1280)]
    faces = [
        (frames[0], Box(200.4, 90.2, 110, 131.5)),
        (frames[0], Box(-20, 250, 120, 140)),
        (frames[1], Box(9, 9, 60, 70)),
    ]
    with protoleak.load(tiny_look_bundle, engine=engine) as screener:
        for _ in range(3):  # plain, captured, replayed
            on_gpu = frame_faces(screener, faces, 0.25)
            on_host = [frame_face(screener.framing, image, box, 0.25) for image, box in faces]
            for one, other in zip(on_gpu, on_host, strict=True):
                assert one.array is not None
                np.testing.assert_array_equal(one.pixels, other.pixels)
            for verdict, expected in zip(screener.each(on_gpu), screener.each(on_host), strict=True):
                assert not isinstance(verdict, Exception)
                assert not isinstance(expected, Exception)
                assert (verdict.input, verdict.log_density) == (expected.input, expected.log_density)


def test_stage_times_are_the_gpus_and_add_up_to_less_than_the_hosts(engine: str, opened: OpenExecutor) -> None:
    import time

    executor = opened(engine, stage_times=True)
    executor.run(make_images(4))
    started = time.perf_counter()
    spent = executor.run(make_images(4)).milliseconds
    elapsed = 1000 * (time.perf_counter() - started)
    assert [*spent] == ["upload", "latent_encoder", "noising", "attributor", "download"]
    assert 0 < sum(spent.values()) <= elapsed


def test_a_nan_latent_is_found_on_the_gpu(engine: str, opened: OpenExecutor) -> None:
    from protoleak.runtime.cuda.finite import CudaFinite

    executor = opened(engine)
    worker, finite = executor.worker, CudaFinite(executor.worker)
    for dtype in (np.float32, np.float16):
        values = np.random.default_rng(1).standard_normal((3, 4, 8, 8)).astype(dtype)
        values[1, 2, 3, 4:6] = np.nan, -np.inf
        array, counts = worker.buffer("values", values.shape, dtype), finite.output(3)
        worker.write(array, values)
        finite.enqueue(array, counts)
        assert worker.read(counts).tolist() == [0, 2, 0]


@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_arrays_of_other_libraries_come_in_without_a_copy(engine: str, tiny_bundle: Path, library: str) -> None:
    module = pytest.importorskip(library, reason=f"{library} makes the array")
    if library == "torch" and not module.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    screener = protoleak.load(tiny_bundle, engine=engine)
    for run in range(3):
        images = make_images(6, 20 * run)
        theirs = module.from_numpy(images).cuda() if library == "torch" else module.asarray(images)
        pointer = theirs.data_ptr() if library == "torch" else theirs.data.ptr
        executor: Any = screener._executor
        assert executor.take("images", theirs)[0].array.pointer == pointer
        for one, other in zip(screener(theirs), screener(images), strict=True):
            assert (one.label, one.nearest, one.input) == (other.label, other.nearest, other.input)
            assert one.log_density == pytest.approx(other.log_density, rel=1e-5)


def test_an_executor_opened_in_one_thread_runs_in_another(engine: str, opened: OpenExecutor) -> None:
    from concurrent.futures import ThreadPoolExecutor

    executor = opened(engine)
    expected = executor.run(make_images(2)).outputs["log_density"]
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(executor.run, [make_images(2)] * 20):
            np.testing.assert_array_equal(result.outputs["log_density"], expected)


def test_a_thousand_iterations_hold_no_more_memory_than_ten(engine: str, opened: OpenExecutor) -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings tells the free memory")
    executor = opened(engine)
    batches = [make_images(1 + number) for number in range(3)]

    def free_memory() -> int:
        executor.worker.synchronize()
        _, free, _ = driver.cuMemGetInfo()
        return int(free)

    for number in range(10):
        executor.run(batches[number % 3])
    before = free_memory()
    for number in range(ITERATIONS):
        executor.run(batches[number % 3])
    assert before - free_memory() <= 0
