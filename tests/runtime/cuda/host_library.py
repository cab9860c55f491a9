"""The kernels' own source, built for the host: what a GPU would compute, number by number, without one."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from protoleak.runtime.cuda.compile import KERNELS
from protoleak.runtime.cuda.crops import PLAN_HEADER, Rectangle, checked_rectangles, taps_for

# Neither side may fuse multiplications and additions: Pillow and the kernels on the GPU don't.
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-Wno-unknown-pragmas")


@cache
def host_library(name: str) -> ctypes.CDLL:
    """The library of `NAME.cpp` beside this file, built once per run of the tests.

    Skips the test where there is no compiler.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ builds the kernels for the host, and it is not installed")
    source, library = Path(__file__).parent / f"{name}.cpp", Path(mkdtemp(prefix="protoleak-kernels-")) / f"{name}.so"
    done = subprocess.run(
        [compiler, *FLAGS, "-I", str(KERNELS), str(source), "-o", str(library)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"the kernels no longer compile for the host:\n{done.stderr}"
    loaded = ctypes.CDLL(str(library))
    library.unlink()
    library.parent.rmdir()
    return loaded


def crop_on_host(
    frame: np.ndarray, rectangles: list[Rectangle], size: int, taps: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What `CudaCrops.enqueue` launches, on the host.

    Args:
        frame: uint8 [H, W, 3]; rows may be padded.
        taps: None for as many as the rectangles need.

    Returns:
        uint8 [N, size, size, 3], and the plans int32 [N, …].
    """
    library, given = host_library("host_crops"), checked_rectangles(rectangles)
    if taps is None:
        taps = taps_for(max(min(width, height) for _, _, width, height in rectangles), size)
    plans = np.full((len(given), PLAN_HEADER + 2 * (taps + 2) * size), -(2**30), np.int32)
    library.crop_weights(_pointer(given), size, taps, _pointer(plans), len(given))
    out = np.full((len(given), size, size, 3), 77, np.uint8)
    height, width = frame.shape[:2]
    pitch = ctypes.c_longlong(frame.strides[0])
    library.crop_rgb(_pointer(frame), pitch, width, height, _pointer(plans), size, taps, _pointer(out), len(given))
    return out, plans


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
