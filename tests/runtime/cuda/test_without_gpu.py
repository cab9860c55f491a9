"""Where there is no GPU the package imports, says so, and the host's share of the work is still right."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from protoleak.errors import EngineUnavailable, MediaError
from protoleak.runtime.cuda import library
from protoleak.runtime.cuda.arrays import DeviceArray, DeviceArrayError, packed_strides
from protoleak.runtime.cuda.crops import CudaCrops, checked_rectangles, taps_for
from protoleak.runtime.cuda.device import CudaWorker, _host_view
from protoleak.runtime.cuda.noising import CudaNoising, vector_width
from tests.paths import ROOT
from tests.runtime.cuda.test_noising_on_host import make_noising

MODULES = ("arrays", "compile", "crops", "device", "finite", "graph", "library", "noising")


def test_importing_the_package_imports_no_cuda() -> None:
    code = (
        "import sys\n"
        "sys.modules['cuda'] = None\n"
        + "".join(f"import protoleak.runtime.cuda.{module}\n" for module in MODULES)
        + "assert not [name for name in sys.modules if name.startswith('cuda.')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_driver_a_worker_is_unavailable_with_the_reason() -> None:
    core = pytest.importorskip("cuda.core", reason="cuda-core asks for the driver")
    try:
        core.Device(0).set_current()
    except Exception:
        with pytest.raises(EngineUnavailable, match=r"CUDA device 0 cannot be used here .*driver"):
            CudaWorker()
    else:
        pytest.skip("there is a GPU here")


def test_the_tests_on_a_gpu_alone_end_with_status_1_and_a_remedy_where_none_could_run() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/gpu/test_kernels.py",
        "-k",
        "crops",
    ]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "1 not run, because CUDA device 0 cannot be used here" in done.stdout
    assert "nothing of tests/gpu ran: it needs an NVIDIA GPU" in done.stdout


def test_a_missing_nvrtc_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutLibrary:
        @staticmethod
        def nvrtcVersion() -> None:  # noqa: N802 - NVIDIA's name
            raise RuntimeError("libnvrtc.so.13 not found")

    monkeypatch.setattr(library, "import_module", lambda _: WithoutLibrary)
    with pytest.raises(EngineUnavailable, match=r"libnvrtc.so.13 not found.*protoleak\[cuda\]"):
        library.nvrtc_version()


class RecordingWorker:
    """Keeps what would be launched. Its memory is an address and nothing more."""

    ordinal = 0

    def __init__(self) -> None:
        self.launches: list[tuple[str, tuple[int, ...], int]] = []
        self.arguments: list[tuple[Any, ...]] = []

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any) -> DeviceArray:  # noqa: ARG002
        return array(shape, dtype)

    def upload(self, values: Any) -> DeviceArray:
        return array(values.shape, values.dtype)

    def kernel(self, source: str, name: str) -> str:
        return f"{source}.{name}"

    def launch(self, kernel: str, grid: tuple[int, ...], threads: int, *arguments: Any, shared_bytes: int = 0) -> None:
        assert threads == 256
        self.launches.append((kernel, grid, shared_bytes))
        self.arguments.append(arguments)


def array(shape: tuple[int, ...], dtype: Any, pointer: int = 4096, **changes: Any) -> DeviceArray:
    kind = np.dtype(dtype)
    return DeviceArray(pointer, tuple(shape), kind, changes.pop("strides", packed_strides(shape, kind)), **changes)


@pytest.mark.parametrize(
    ("shape", "components", "read", "written", "pointer", "launch"),
    [
        ((4, 32, 32), 8, np.float32, np.float32, 4096, ("noise_float32_float32_wide", (8, 1), 6144)),
        ((4, 32, 32), None, np.float32, np.float32, 4096, ("noise_float32_float32_wide", (8, 1), 0)),
        ((4, 32, 64), None, np.float32, np.float32, 4096, ("noise_float32_float32_wide", (8, 2), 0)),
        ((4, 32, 32), 8, np.float16, np.float32, 4096, ("noise_float16_float32_wide", (8, 1), 6144)),
        ((4, 32, 32), 8, np.float32, np.float16, 4096, ("noise_float32_float16_wide", (8, 1), 6144)),
        ((4, 25, 25), None, np.float32, np.float32, 4096, ("noise_float32_float32", (8, 3), 0)),
        ((4, 32, 32), None, np.float32, np.float32, 4100, ("noise_float32_float32", (8, 4), 0)),  # not 16-byte aligned
        ((4, 32, 12), None, np.float32, np.float16, 4096, ("noise_float32_float16", (8, 2), 0)),  # 12 isn't 8s
    ],
)
def test_noising_launches_the_kernel_that_fits(
    shape: tuple[int, int, int],
    components: int | None,
    read: Any,
    written: Any,
    pointer: int,
    launch: tuple[str, tuple[int, int], int],
) -> None:
    worker: Any = RecordingWorker()
    noising = CudaNoising(worker, make_noising(3, *shape, components))
    noising.enqueue(array((2, *shape), read, pointer), noising.output(2, written))
    name, grid, shared_bytes = launch
    assert worker.launches == [(f"noising.{name}", grid, shared_bytes)]


def test_noising_refuses_a_result_of_another_shape() -> None:
    worker: Any = RecordingWorker()
    noising = CudaNoising(worker, make_noising(3, 4, 8, 8, 2))
    with pytest.raises(DeviceArrayError, match=r"z_t has the shape \[2, 3, 4, 8, 8\]; expected \[2, 3, 8, 8, 8\]"):
        noising.enqueue(array((2, 4, 8, 8), np.float32), array((2, 3, 4, 8, 8), np.float32))
    assert not worker.launches


def test_planes_that_do_not_fit_shared_memory_are_refused_with_their_size() -> None:
    worker: Any = RecordingWorker()
    with pytest.raises(EngineUnavailable, match="planes of 128×128 with 8 low-frequency components need 73728 bytes"):
        CudaNoising(worker, make_noising(1, 1, 128, 128, 8))


@pytest.mark.parametrize(("width", "read", "expected"), [(32, np.float32, 4), (32, np.float16, 8), (30, np.float32, 1)])
def test_a_thread_moves_sixteen_bytes_where_rows_allow(width: int, read: Any, expected: int) -> None:
    assert vector_width(width, read, np.float32) == expected


def test_crops_launch_one_block_per_tile_and_look() -> None:
    worker: Any = RecordingWorker()
    worker.write = lambda array, values: worker.launches.append(("write", array.shape, values.tolist()))
    crops = CudaCrops(worker, 100)
    frame = array((720, 1280, 3), np.uint8, strides=(4096, 3, 1))
    given, taps = crops.upload([(0, 0, 1280, 720), (-5, 9, 100, 100)])
    crops.enqueue(frame, given, taps, array((2, 100, 100, 3), np.uint8))
    assert worker.launches == [
        ("write", (2, 4), [[0, 0, 1280, 720], [-5, 9, 100, 100]]),
        ("crops.crop_weights", (2,), 0),
        ("crops.crop_rgb", (4, 13, 2), 0),
    ]
    assert worker.arguments[1][1:4] == (4096, 1280, 720)  # pitch, width, height


def test_faces_of_all_sizes_share_a_few_sizes_of_memory() -> None:
    worker: Any = RecordingWorker()
    worker.write = lambda *_: None
    crops = CudaCrops(worker, 256)
    assert len({crops.upload([(0, 0, side, side + 7)])[1] for side in range(1, 2049)}) == 4
    assert all(crops.upload([(0, 0, side, side)])[1] >= taps_for(side, 256) for side in (1, 255, 256, 257, 2000, 2048))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (array((8, 8, 4), np.uint8), r"frame has the shape \[8, 8, 4\]; expected \[any, any, 3\]"),
        (array((8, 8, 3), np.uint8, strides=(64, 4, 1)), "rows of packed pixels"),
        (array((0, 8, 3), np.uint8), "holds no pixels"),
        (array((8, 8, 3), np.uint16), "frame is of uint16"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(frame: DeviceArray, message: str) -> None:
    worker: Any = RecordingWorker()
    crops = CudaCrops(worker, 16)
    with pytest.raises(DeviceArrayError, match=message):
        crops.enqueue(frame, array((1, 4), np.int32), 3, array((1, 16, 16, 3), np.uint8))
    assert not worker.launches


@pytest.mark.parametrize("rectangle", [(5, 5, 0, 9), (5, 5, 9, -1), (2**24, 0, 9, 9), (0, -(2**24), 9, 9)])
def test_a_rectangle_that_cannot_be_cropped_is_refused_by_its_index(rectangle: tuple[int, int, int, int]) -> None:
    with pytest.raises(MediaError, match=r"rectangle 1 of .* is empty or lies too far out"):
        checked_rectangles([(0, 0, 10, 10), rectangle])


def test_pinned_memory_is_seen_where_it_lies_and_can_be_written() -> None:
    memory = np.zeros(12, np.uint8)

    class Staging:
        handle = memory.ctypes.data

    _host_view(Staging(), 8)[:] = np.arange(2, dtype=np.float32).view(np.uint8)
    assert memory[:8].view(np.float32).tolist() == [0, 1]
    assert not memory[8:].any()
