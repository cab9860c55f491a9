"""Images from threads and from processes."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from protoleak.arrays import UInt8Array
from protoleak.errors import EngineError, MediaError
from protoleak.model.loading import loaded, usable_workers


@dataclass(frozen=True)
class Number:
    """An image all of one value; 13 cannot be read, and 99 kills its process."""

    value: int

    def __call__(self) -> UInt8Array:
        if self.value == 13:
            raise MediaError("13.png is broken")
        if self.value == 99:
            os._exit(1)
        return np.full((2, 2, 3), self.value, dtype=np.uint8)


@dataclass(frozen=True)
class Left:
    """An image that leaves a file when it is made."""

    folder: Path
    value: int

    def __call__(self) -> UInt8Array:
        (self.folder / str(self.value)).touch()
        return np.zeros((1, 1, 3), dtype=np.uint8)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_images_come_in_order_whatever_makes_them_and_errors_in_their_places(workers: int) -> None:
    parts = list(loaded([Number(value) for value in (5, 13, 7, 8, 9, 1, 2)], 2, workers))
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    found = [item for part in parts for item in part]
    assert isinstance(found[1], MediaError)
    assert str(found[1]) == "13.png is broken"
    assert [int(item.max()) for item in found if not isinstance(item, MediaError)] == [5, 7, 8, 9, 1, 2]


def test_no_more_images_are_made_ahead_than_the_workers_need(tmp_path: Path) -> None:
    parts = loaded([Left(tmp_path, value) for value in range(40)], 2, 1)
    next(parts)
    next(parts)
    parts.close()  # type: ignore[attr-defined]  # waits for what has begun
    assert len(list(tmp_path.iterdir())) <= 2 * (2 + 1 + 1)


def test_no_process_is_started_for_a_single_part() -> None:
    parts = loaded([Number(1), Number(2)], 2, 2)
    next(parts)
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_an_error_with_the_remedy() -> None:
    with pytest.raises(EngineError, match="give fewer workers"):
        list(loaded([Number(1), Number(99), Number(2)], 1, 1))


def test_there_are_workers_for_the_cores_that_may_be_used() -> None:
    assert 1 <= usable_workers() <= 8
