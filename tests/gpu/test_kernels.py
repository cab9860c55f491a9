"""The kernels where they belong: launched on a GPU and compared with NumPy and Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.runtime.cuda.arrays import DeviceArray
from protoleak.runtime.cuda.compile import compile_kernels
from protoleak.runtime.cuda.crops import CudaCrops
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.cuda.graph import GraphPerBatchSize, Stage
from protoleak.runtime.cuda.noising import CudaNoising
from tests.gpu.agreement import agree
from tests.runtime.cuda.crop_reference import cropped
from tests.runtime.cuda.test_noising_on_host import make_noising

Array = npt.NDArray[Any]
ITERATIONS = 1000


def latents(seed: int, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def filled(worker: CudaWorker, name: str, values: Array) -> DeviceArray:
    array = worker.buffer(name, values.shape, values.dtype)
    worker.write(array, values)
    return array


@pytest.mark.parametrize("read", [np.float32, np.float16])
@pytest.mark.parametrize("written", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("shape", "components"),
    [((2, 4, 32, 32), 8), ((3, 32, 32, 32), None), ((1, 4, 25, 25), 6), ((2, 3, 64, 64), 12), ((1, 1, 7, 9), None)],
)
def test_noising_agrees_with_numpy(
    worker: CudaWorker, read: Any, written: Any, shape: tuple[int, int, int, int], components: int | None
) -> None:
    noising = make_noising(5, *shape[1:], components)
    z0 = latents(1, shape, read)
    on_gpu = CudaNoising(worker, noising)
    z_t = on_gpu.output(shape[0], written)
    on_gpu.enqueue(filled(worker, "z0", z0), z_t)
    got, exact = worker.read(z_t), noising(z0.astype(np.float32))
    channels = shape[1]
    # Without fused multiply-add the plain half is NumPy's to the last bit.
    np.testing.assert_array_equal(got[:, :, :channels], exact[:, :, :channels].astype(written))
    # 128 products per value, the largest factor is 34 (timestep 0)
    what = f"noising, {np.dtype(read).name} to {np.dtype(written).name}"
    agree(what, got, exact, rtol=float(np.finfo(written).eps), atol=34 * 2e-5)


def test_kernels_that_nvrtc_has_in_a_cache_of_its_own_are_taken_too(worker: CudaWorker, tmp_path: Path) -> None:
    """It keeps what it compiled where there is a driver, and gives it without a report the second time."""
    first, second = (compile_kernels("finite", worker.architecture, tmp_path / name) for name in ("one", "two"))
    assert len(first.cubin) == len(second.cubin)


def test_an_array_of_torch_comes_in_and_gives_the_same_result(worker: CudaWorker) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch makes the array")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    noising = make_noising(3, 4, 32, 32, 8)
    z0 = latents(2, (2, 4, 32, 32))
    tensor = torch.from_numpy(z0).cuda()
    taken = worker.take("z0", tensor)
    assert taken.pointer == tensor.data_ptr()
    on_gpu = CudaNoising(worker, noising)
    z_t = on_gpu.output(2)
    on_gpu.enqueue(taken, z_t)
    np.testing.assert_allclose(worker.read(z_t), noising(z0), rtol=1e-6, atol=34 * 2e-5)


def test_crops_equal_the_host_to_the_last_bit(worker: CudaWorker) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    rectangles = [(-50, 20, 450, 480), (900, 400, 400, 400), (100, 100, 80, 70), (0, 0, 1280, 720), (3, 5, 256, 256)]
    crops = CudaCrops(worker, 256)
    looks = worker.allocate((len(rectangles), 256, 256, 3), np.uint8)
    crops.enqueue(filled(worker, "frame", frame), *crops.upload(rectangles), looks)
    for got, rectangle in zip(worker.read(looks), rectangles, strict=True):
        np.testing.assert_array_equal(got, cropped(frame, rectangle, 256))


def pipeline(worker: CudaWorker) -> tuple[GraphPerBatchSize, CudaNoising]:
    """Noising twice, the second time from another latent: two stages that share memory."""
    on_gpu = CudaNoising(worker, make_noising(5, 4, 32, 32, 8))

    def stage(name: str) -> Stage:
        shape = 4, 32, 32
        return Stage(
            name,
            lambda n: on_gpu.enqueue(worker.buffer(name, (n, *shape), np.float32), on_gpu.output(n)),
        )

    return GraphPerBatchSize(worker, [stage("first"), stage("second")]), on_gpu


def test_a_graph_gives_the_same_bits_as_no_graph_for_new_input(worker: CudaWorker) -> None:
    graph, on_gpu = pipeline(worker)
    for batch_size in (1, 3):
        for seed in range(4):
            z0 = latents(seed, (batch_size, 4, 32, 32))
            for name in ("first", "second"):
                filled(worker, name, z0)
            graph.enqueue(batch_size)
            captured = worker.read(on_gpu.output(batch_size))
            plain = worker.buffer("plain", captured.shape, np.float32)
            on_gpu.enqueue(worker.buffer("second", z0.shape, np.float32), plain)
            np.testing.assert_array_equal(captured, worker.read(plain))
    assert graph.captured == (1, 3)
    graph.close()


def test_a_thousand_iterations_hold_no_more_memory_than_ten(worker: CudaWorker) -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings tells the free memory")
    graph, on_gpu = pipeline(worker)
    crops = CudaCrops(worker, 256)
    frame = filled(worker, "frame", np.zeros((480, 640, 3), np.uint8))

    def once(number: int) -> None:
        batch_size = 1 + number % 3
        graph.enqueue(batch_size)
        looks = worker.allocate((batch_size, 256, 256, 3), np.uint8)
        crops.enqueue(frame, *crops.upload([(10, 10, 290, 290)] * batch_size), looks)
        worker.read(on_gpu.output(batch_size))

    def free_memory() -> int:
        worker.synchronize()
        _, free, _ = driver.cuMemGetInfo()
        return int(free)

    for number in range(10):
        once(number)
    before = free_memory()
    for number in range(ITERATIONS):
        once(number)
    assert before - free_memory() <= 0
    graph.close()
