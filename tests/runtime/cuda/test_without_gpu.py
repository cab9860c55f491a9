"""Where there is no GPU the package imports, says so, and the host's share of the work is still right."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protoleak.errors import EngineUnavailable, MediaError
from protoleak.runtime.cuda import library
from protoleak.runtime.cuda.arrays import DeviceArray, DeviceArrayError, packed_strides
from protoleak.runtime.cuda.crops import BgrFrame, CudaCrops, Nv12Frame, checked_boxes
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


def test_the_kernel_benchmark_measures_nothing_without_a_gpu_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    specification = importlib.util.spec_from_file_location("kernels", ROOT / "benchmarks" / "kernels.py")
    assert specification is not None
    assert specification.loader is not None
    benchmark = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "kernels", benchmark)
    specification.loader.exec_module(benchmark)

    def unavailable(device: int) -> None:
        raise EngineUnavailable(f"CUDA device {device} cannot be used here")

    monkeypatch.setattr(benchmark, "CudaWorker", unavailable)
    monkeypatch.setattr(sys, "argv", ["kernels.py", "--json", str(tmp_path / "kernels.json")])
    assert benchmark.main() == 2
    assert "needs a GPU, and nothing was measured: CUDA device 0 cannot be used" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


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


def test_crops_launch_one_block_per_tile_and_face() -> None:
    worker: Any = RecordingWorker()
    crops = CudaCrops(worker, 100)
    frame = BgrFrame(array((720, 1280, 3), np.uint8, strides=(4096, 3, 1)))
    crops.enqueue(frame, array((5, 4), np.float32), crops.output(5))
    assert worker.launches == [("crops.crop_weights", (5,), 0), ("crops.crop_bgr", (4, 13, 5), 0)]
    assert worker.arguments[1][2] == 4096  # the pitch


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (BgrFrame(array((8, 8, 4), np.uint8)), r"frame has the shape \[8, 8, 4\]; expected \[any, any, 3\]"),
        (BgrFrame(array((8, 8, 3), np.uint8, strides=(64, 4, 1))), "rows of packed pixels"),
        (BgrFrame(array((0, 8, 3), np.uint8)), "holds no pixels"),
        (Nv12Frame(array((8, 7), np.uint8), array((4, 7), np.uint8)), "even sides"),
        (Nv12Frame(array((8, 8), np.uint8), array((8, 8), np.uint8)), r"chroma has the shape .* expected \[4, 8\]"),
        (Nv12Frame(array((8, 8), np.uint16), array((4, 8), np.uint8)), "luma is of uint16"),  # P010
    ],
)
def test_a_frame_that_does_not_fit_is_refused(frame: BgrFrame | Nv12Frame, message: str) -> None:
    worker: Any = RecordingWorker()
    crops = CudaCrops(worker, 16)
    with pytest.raises(DeviceArrayError, match=message):
        crops.enqueue(frame, array((1, 4), np.float32), crops.output(1))
    assert not worker.launches


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((5, 5, 5, 9), "box 1 .* is empty or not finite"),
        ((0, 0, float("nan"), 9), "box 1 .* is empty or not finite"),
        ((0, 0, 9, float("inf")), "box 1 .* is empty or not finite"),
        ((0, 0, 300, 400), "box 1 is 300×400 pixels, .* larger largest_side"),
    ],
)
def test_a_box_that_cannot_be_cropped_is_refused_by_its_index(box: tuple[float, ...], message: str) -> None:
    with pytest.raises(MediaError, match=message):
        checked_boxes([(0, 0, 10, 10), box], largest_side=200)


def test_boxes_of_another_shape_are_refused() -> None:
    with pytest.raises(MediaError, match=r"boxes have the shape \[4\]"):
        checked_boxes([0, 0, 10, 10], largest_side=200)


def test_pinned_memory_is_seen_where_it_lies_and_can_be_written() -> None:
    memory = np.zeros(12, np.uint8)

    class Staging:
        handle = memory.ctypes.data

    _host_view(Staging(), 8)[:] = np.arange(2, dtype=np.float32).view(np.uint8)
    assert memory[:8].view(np.float32).tolist() == [0, 1]
    assert not memory[8:].any()
