"""No progress is an error with its reason, and signs of life are none."""

from __future__ import annotations

import pytest

from protoleak.errors import DiskFull, ProtoleakError
from protoleak.serving.corpus.monitor import Monitor, Signs, Watchdog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def resources() -> str:
    return "the cluster has 2 processors"


def test_silence_is_an_error_that_says_what_there_is(clock: Clock) -> None:
    watchdog = Watchdog(60, clock)
    clock.now = 60
    watchdog.look(Signs(), 0, resources)
    clock.now = 60.5
    with pytest.raises(ProtoleakError, match=r"no progress for 60 s: no worker has started; the cluster has 2 proc"):
        watchdog.look(Signs(), 0, resources)


def test_whatever_goes_on_resets_the_clock(clock: Clock) -> None:
    monitor, watchdog = Monitor(), Watchdog(60, clock)
    for step in range(10):
        clock.now += 50
        if step % 2:
            monitor.judged("box:1", 3, step, "a.jpg")
            watchdog.look(monitor.signs(), 0, resources)
        else:
            watchdog.look(None, step + 1, resources)  # the monitor is silent, but a block is finished


def test_a_worker_that_hangs_is_named_with_its_image(clock: Clock) -> None:
    monitor, watchdog = Monitor(), Watchdog(60, clock)
    monitor.judged("box:1", 3, 5, "a.jpg")
    watchdog.look(monitor.signs(), 0, resources)
    clock.now = 61
    with pytest.raises(ProtoleakError, match=r"box:1 was at a\.jpg; the cluster has 2 processors: look at these"):
        watchdog.look(monitor.signs(), 0, resources)


def test_a_monitor_that_died_is_borne_for_as_long(clock: Clock) -> None:
    watchdog = Watchdog(60, clock)
    clock.now = 59
    watchdog.look(None, 0, resources)
    clock.now = 61
    with pytest.raises(ProtoleakError, match="no progress"):
        watchdog.look(None, 0, resources)


def test_why_a_worker_gave_up_is_passed_on(clock: Clock) -> None:
    monitor = Monitor()
    monitor.failed("cannot write part-000001.parquet: No space left on device", full=True)
    monitor.failed("another one", full=False)
    with pytest.raises(DiskFull, match=r"^cannot write part-000001"):
        Watchdog(60, clock).look(monitor.signs(), 0, resources)
