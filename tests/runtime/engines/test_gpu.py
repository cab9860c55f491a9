"""What the driver says of the GPU, or why there is none. The driver is played, by the CUDA manual."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from protoleak.errors import EngineUnavailable
from protoleak.runtime.engines.gpu import Gpu, find_gpu


class PlayedDriver:
    """libcuda with one Orin."""

    def __init__(self, status: int = 0, count: int = 1) -> None:
        self.status, self.count = status, count

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, handle: Any, ordinal: int) -> int:  # noqa: N802
        handle._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name: Any, length: int, _: Any) -> int:  # noqa: N802
        assert length == 256
        name.value = b"Orin"
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, _: Any) -> int:  # noqa: N802
        size._obj.value = 8 * 2**30
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, _: Any) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 7, 18: 1}[attribute]
        return 0


def play(monkeypatch: pytest.MonkeyPatch, driver: PlayedDriver) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: driver)


def test_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, PlayedDriver())
    assert find_gpu() == Gpu("Orin", "8.7", 8 * 2**30, integrated=True)


@pytest.mark.parametrize(
    ("driver", "device", "says"),
    [
        (PlayedDriver(status=100), 0, "shows no GPU"),
        (PlayedDriver(count=0), 0, "shows no GPU"),
        (PlayedDriver(status=999), 0, "CUDA error 999"),
        (PlayedDriver(count=2), 2, "no CUDA device 2: choose one of 0 to 1"),
    ],
)
def test_reason_for_having_none_is_told(
    monkeypatch: pytest.MonkeyPatch, driver: PlayedDriver, device: int, says: str
) -> None:
    play(monkeypatch, driver)
    with pytest.raises(EngineUnavailable, match=says):
        find_gpu(device)


def test_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(EngineUnavailable, match="no NVIDIA driver"):
        find_gpu()
