"""The kernels' own source, built for the host: what a GPU would compute, number by number, without one."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from protoleak.runtime.cuda.compile import KERNELS

# Neither side may fuse multiplications and additions: Pillow and the kernels on the GPU don't.
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-Wno-unknown-pragmas")


@pytest.fixture(scope="session")
def host_noising(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return _host_library("host_noising", tmp_path_factory.mktemp("host_noising"))


@pytest.fixture(scope="session")
def host_crops(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return _host_library("host_crops", tmp_path_factory.mktemp("host_crops"))


@pytest.fixture(scope="session")
def host_finite(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return _host_library("host_finite", tmp_path_factory.mktemp("host_finite"))


def _host_library(name: str, folder: Path) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ builds the kernels for the host, and it is not installed")
    source, library = Path(__file__).parent / f"{name}.cpp", folder / f"{name}.so"
    done = subprocess.run(
        [compiler, *FLAGS, "-I", str(KERNELS), str(source), "-o", str(library)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"the kernels no longer compile for the host:\n{done.stderr}"
    return ctypes.CDLL(str(library))
