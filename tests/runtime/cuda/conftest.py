"""The kernels' own source, built for the host."""

from __future__ import annotations

import ctypes

import pytest

from tests.runtime.cuda.host_library import host_library


@pytest.fixture(scope="session")
def host_noising() -> ctypes.CDLL:
    return host_library("host_noising")


@pytest.fixture(scope="session")
def host_crops() -> ctypes.CDLL:
    return host_library("host_crops")


@pytest.fixture(scope="session")
def host_finite() -> ctypes.CDLL:
    return host_library("host_finite")
