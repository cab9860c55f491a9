"""One thread watches over all that runs, in every process."""

from __future__ import annotations

import os
import threading
import time

import pytest

from protoleak.runtime.engines.time_limit import Watchdog, time_limit

SOON, LONG = 0.02, 60.0


def test_what_takes_too_long_is_stopped_and_what_does_not_is_left_alone() -> None:
    dog = Watchdog()
    late, early = threading.Event(), threading.Event()
    with dog.limit(LONG, early.set) as in_time, dog.limit(SOON, late.set) as too_late:
        assert late.wait(10)
        assert too_late.is_late
    with dog.limit(SOON, early.set):
        pass
    with dog.limit(LONG, early.set):
        time.sleep(3 * SOON)
    assert not early.is_set()
    assert not in_time.is_late


def test_a_shorter_limit_is_kept_while_the_thread_sleeps_for_a_longer_one() -> None:
    dog = Watchdog()
    called = threading.Event()
    with dog.limit(LONG, lambda: None):
        time.sleep(SOON)
        with dog.limit(SOON, called.set):
            assert called.wait(10)


def test_many_runs_at_once_start_one_thread() -> None:
    dog = Watchdog()
    before = threading.active_count()

    def run() -> None:
        for _ in range(200):
            with dog.limit(LONG, lambda: None):
                pass

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert threading.active_count() == before + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process")  # Python warns of threads and fork: that is what is tested
def test_a_child_process_has_a_thread_of_its_own() -> None:
    with time_limit(LONG, lambda: None):
        child = os.fork()
        if child == 0:
            called = threading.Event()
            with time_limit(SOON, called.set):
                os._exit(0 if called.wait(10) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
