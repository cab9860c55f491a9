"""The kernels where they belong: launched on a GPU and compared with NumPy and Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.errors import MediaError
from protoleak.runtime.cuda.arrays import DeviceArray
from protoleak.runtime.cuda.crops import BgrFrame, ColourMatrix, CudaCrops, Nv12Frame
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.cuda.graph import GraphPerBatchSize, Stage
from protoleak.runtime.cuda.noising import CudaNoising
from tests.runtime.cuda.crop_reference import crop_with_pillow, rgb_from_nv12
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
    np.testing.assert_allclose(got, exact, rtol=np.finfo(written).eps, atol=34 * 2e-5)


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


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_crops_equal_pillow(worker: CudaWorker, dtype: npt.DTypeLike) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    boxes = [(-50, 20, 400, 500), (900, 400, 1300, 800), (100, 100, 180, 170), (0, 0, 1280, 720)]
    crops = CudaCrops(worker, 256)
    given = filled(worker, "given boxes", np.array(boxes, dtype))
    image = crops.output(len(boxes))
    crops.enqueue(BgrFrame(filled(worker, "frame", frame)), given, image)
    crops.check(len(boxes))
    for got, box in zip(worker.read(image), boxes, strict=True):
        np.testing.assert_array_equal(got, crop_with_pillow(frame[..., ::-1], box, 256))


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_nv12_crops_are_within_one_grey_level(worker: CudaWorker, matrix: ColourMatrix) -> None:
    rng = np.random.default_rng(4)
    luma = rng.integers(0, 256, (360, 640), dtype=np.uint8)
    chroma = rng.integers(0, 256, (180, 640), dtype=np.uint8)
    box = (30.5, -20.25, 330.75, 280.0)
    crops = CudaCrops(worker, 256)
    frame = Nv12Frame(filled(worker, "luma", luma), filled(worker, "chroma", chroma), matrix)
    image = crops.output(1)
    crops.enqueue(frame, crops.upload_boxes([box]), image)
    expected = crop_with_pillow(rgb_from_nv12(luma, chroma, matrix), box, 256)
    assert np.abs(worker.read(image)[0].astype(int) - expected).max() <= 1


def test_a_box_that_a_detector_left_empty_is_named(worker: CudaWorker) -> None:
    crops = CudaCrops(worker, 64)
    frame = BgrFrame(filled(worker, "frame", np.full((64, 64, 3), 9, np.uint8)))
    boxes = filled(worker, "given boxes", np.array([[0, 0, 32, 32], [5, 5, 5, 9]], np.float32))
    crops.enqueue(frame, boxes, crops.output(2))
    with pytest.raises(MediaError, match="boxes 1 of 2 are empty"):
        crops.check(2)


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
    frame = BgrFrame(filled(worker, "frame", np.zeros((480, 640, 3), np.uint8)))

    def once(number: int) -> None:
        batch_size = 1 + number % 3
        graph.enqueue(batch_size)
        crops.enqueue(frame, crops.upload_boxes([(10, 10, 300, 300)] * batch_size), crops.output(batch_size))
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
