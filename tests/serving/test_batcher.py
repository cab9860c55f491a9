"""The threads between the endpoints and the engines, with engines that do what a test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from protoleak.errors import EngineError
from protoleak.image_records import Identity, Record
from protoleak.runtime.prepared import Prepared
from protoleak.runtime.verdict import Verdict
from protoleak.serving.batcher import Batcher, BatchingFailed, Done, Job
from protoleak.serving.judging import PreparedImage
from protoleak.serving.metrics import Metrics


class _Image(PreparedImage):
    def records(self, outcomes: Sequence[Verdict | EngineError]) -> list[Record]:
        return [Record("error", None, None, reason=str(outcome)) for outcome in outcomes]


class _Engines:
    """Says of each unit its own name, once the gate is open."""

    batch_maximum = 4

    def __init__(self, rounded: bool = False) -> None:
        self.rounded = rounded
        self.gate = threading.Event()
        self.batches: list[int] = []
        self.raising: BaseException | None = None

    def identity(self, every_face: bool) -> Identity:
        raise NotImplementedError(every_face)

    def prepare(self, data: bytes, every_face: bool) -> PreparedImage:
        assert not every_face
        if data == b"odd":
            raise ValueError("a decoder's own error")
        return _Image(tuple(data.decode().split()))  # type: ignore[arg-type]  # names stand for what is prepared

    def judge(self, units: Sequence[Prepared]) -> list[Verdict | EngineError]:
        self.gate.wait(10)
        if self.raising is not None:
            raise self.raising
        self.batches.append(len(units))
        return [EngineError(str(unit)) for unit in units]


class _Waiting:
    """One image, and what comes of it."""

    def __init__(self, engines: _Engines, names: str) -> None:
        self.released = 0
        self.outcome: Done | BatchingFailed | None = None
        self._finished = threading.Event()
        self.job = Job(names.encode(), False, engines, self._finish, self._release)

    @property
    def names(self) -> list[str | None]:
        assert self._finished.wait(10)
        assert isinstance(self.outcome, Done)
        return [record.reason for record in self.outcome.records]

    def failure(self) -> BatchingFailed:
        assert self._finished.wait(10)
        assert isinstance(self.outcome, BatchingFailed)
        return self.outcome

    def _finish(self, outcome: Done | BatchingFailed) -> None:
        self.outcome = outcome
        self._finished.set()

    def _release(self) -> None:
        self.released += 1


@pytest.fixture(params=[1, 2])
def batcher(request: pytest.FixtureRequest) -> Iterator[Batcher]:
    made = Batcher(Metrics(), lambda: False, threads=request.param)
    yield made
    made.stop(2)


def test_every_unit_gets_its_own_outcome_and_a_batch_is_what_waits(batcher: Batcher) -> None:
    engines = _Engines()
    jobs = [_Waiting(engines, f"{place} {place}b") for place in range(10)]
    for job in jobs:
        batcher.submit(job.job)
    time.sleep(0.3)
    engines.gate.set()
    assert [job.names for job in jobs] == [[f"{place}", f"{place}b"] for place in range(10)]
    assert max(engines.batches) == 4
    assert sum(engines.batches) == 20
    assert all(job.released == 1 for job in jobs)


def test_batches_are_powers_of_two_where_the_engine_keeps_memory_for_each_size() -> None:
    engines = _Engines(rounded=True)
    batcher = Batcher(Metrics(), lambda: True)
    jobs = [_Waiting(engines, str(place)) for place in range(8)]
    for job in jobs:
        batcher.submit(job.job)
    time.sleep(0.3)
    engines.gate.set()
    assert [job.names for job in jobs] == [[str(place)] for place in range(8)]
    assert set(engines.batches) <= {1, 2, 4}
    batcher.stop(2)


def test_what_was_dropped_never_reaches_the_engines(batcher: Batcher) -> None:
    engines = _Engines()
    first = [_Waiting(engines, "a a a a") for _ in range(2)]  # a whole batch for each thread
    for job in first:
        batcher.submit(job.job)
    time.sleep(0.2)
    dropped, kept = _Waiting(engines, "dropped"), _Waiting(engines, "kept")
    for job in (dropped, kept):
        batcher.submit(job.job)
    time.sleep(0.2)
    dropped.job.drop()
    engines.gate.set()
    assert [job.names for job in (*first, kept)] == [["a"] * 4, ["a"] * 4, ["kept"]]
    assert dropped.outcome is None
    until = time.monotonic() + 5
    while dropped.released == 0 and time.monotonic() < until:
        time.sleep(0.01)
    assert dropped.released == 1
    assert sum(engines.batches) == 9


def test_what_a_decoder_raises_unforeseen_is_its_images_alone(batcher: Batcher) -> None:
    engines = _Engines()
    engines.gate.set()
    odd, fine = _Waiting(engines, "odd"), _Waiting(engines, "fine")
    for job in (odd, fine):
        batcher.submit(job.job)
    assert odd.names == ["image: cannot be decoded: ValueError: a decoder's own error"]
    assert fine.names == ["fine"]


def test_when_all_threads_have_ended_every_open_request_fails_and_new_ones_too() -> None:
    engines = _Engines()
    engines.raising = SystemExit("killed")
    batcher = Batcher(Metrics(), lambda: True)
    assert batcher.well
    jobs = [_Waiting(engines, str(place)) for place in range(9)]
    for job in jobs:
        batcher.submit(job.job)
    engines.gate.set()
    for job in jobs:
        assert "killed" in str(job.failure())
    until = time.monotonic() + 1
    while batcher.well and time.monotonic() < until:
        time.sleep(0.01)
    assert not batcher.well
    late = _Waiting(engines, "late")
    batcher.submit(late.job)
    late.failure()
    assert all(job.released == 1 for job in (*jobs, late))
    batcher.stop(2)


def test_outcomes_that_are_not_finite_are_followed_by_a_probe_that_says_whether_it_was_the_image() -> None:
    for answer in (True, False):
        engines = _Engines()
        engines.gate.set()
        batcher = Batcher(Metrics(), lambda answer=answer: answer)  # type: ignore[misc]
        job = _Waiting(engines, "a")
        batcher.submit(job.job)
        assert job.names == ["a"]
        batcher.stop(2)
        assert batcher._finite is answer


def test_stopping_waits_for_what_was_submitted_and_no_longer_than_it_may() -> None:
    engines = _Engines()
    batcher = Batcher(Metrics(), lambda: True, threads=2)
    job = _Waiting(engines, "a")
    batcher.submit(job.job)
    started = time.monotonic()
    batcher.stop(0.5)  # the engines don't answer
    assert 0.4 < time.monotonic() - started < 3
    engines.gate.set()
    assert job.names == ["a"]
