"""From accepted images to their records: a pool decodes as they arrive, and a batch is what waits when the engines
become free.

Nothing waits for a fuller batch: on a processor a batch is no faster than its images one by one
(docs/decisions/0001-one-image-at-a-time.md), and a delay costs a lone client most of its rate.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from protoleak.errors import EngineError, MediaError, ProtoleakError
from protoleak.image_records import Record
from protoleak.runtime.prepared import Prepared
from protoleak.runtime.verdict import Verdict
from protoleak.serving.judging import NAME, Judging, PreparedImage, failed_record
from protoleak.serving.metrics import Metrics

POLL_SECONDS = 0.25  # how often an idle thread wakes, so that one that was ended from outside is noticed
PROBE_SECONDS = 5.0  # between two probes of engines that gave something that is not finite

Probe: TypeAlias = Callable[[], bool]


class BatchingFailed(ProtoleakError):
    """The thread that an image was with has ended: there is no verdict, and the process is to be started again."""


@dataclass(frozen=True)
class Done:
    """What came of an image.

    Attributes:
        records: of the image, or of its faces.
        error: why there are no verdicts at all, where there are none.
    """

    records: tuple[Record, ...]
    error: MediaError | EngineError | None = None


@dataclass(eq=False)
class Job:
    """One image on its way through the threads.

    Attributes:
        data: encoded.
        every_face: see `Judging.prepare`.
        judging: who prepares and judges it.
        finish: called in some thread with what came of it, unless it was dropped.
        release: called once, in some thread, when nothing uses `judging` for it any more.
        dropped: nobody waits for it any more.
    """

    data: bytes
    every_face: bool
    judging: Judging
    finish: Callable[[Done | BatchingFailed], None]
    release: Callable[[], None]
    dropped: bool = False
    prepared: PreparedImage | None = None
    outcomes: list[Verdict | EngineError | None] = field(default_factory=list)
    missing: int = 0

    def drop(self) -> None:
        """Nobody waits for it any more: it is left out wherever it comes next."""
        self.dropped, self.data = True, b""


@dataclass(frozen=True)
class _Unit:
    """What goes through the engines: one face of a job, or the whole image."""

    job: Job
    place: int
    prepared: Prepared
    since: float


class Batcher:
    """The threads that decode and judge. A job comes in with `submit`, and comes out by its `finish`.

    Args:
        threads: that hand batches to the engines, in turns.
        decoders: threads that decode.
        metrics: that count what they do.
        probe: asks the engines for something that they are known to judge, after they gave what is not finite.
    """

    def __init__(self, metrics: Metrics, probe: Probe, *, threads: int = 1, decoders: int = 2) -> None:
        self._metrics, self._probe = metrics, probe
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # None: the thread that takes it ends
        self._waiting: deque[_Unit | None] = deque()  # None: the thread that takes it ends
        self._arrived = threading.Condition(threading.RLock())
        self._open: set[Job] = set()
        self._failed: BaseException | None = None
        self._finite, self._probed, self._stopping = True, 0.0, False
        self._threads = [
            threading.Thread(target=self._guard, name=f"protoleak-batching-{number}", daemon=True)
            for number in range(threads)
        ]
        self._decoders = [
            threading.Thread(target=self._decode_all, name=f"protoleak-decode-{number}", daemon=True)
            for number in range(decoders)
        ]
        for thread in (*self._threads, *self._decoders):
            thread.start()

    @property
    def well(self) -> bool:
        """Whether all threads live and the last batch was finite."""
        return self._finite and self._failed is None and all(thread.is_alive() for thread in self._threads)

    def submit(self, job: Job) -> None:
        """Takes a job; for any thread."""
        with self._arrived:
            dead = self._dead
            if not dead:
                self._open.add(job)
        if dead:
            job.finish(self._failure())
            job.release()
        else:
            self._jobs.put(job)

    def stop(self, seconds: float) -> None:
        """Ends the threads once all that was submitted is done, or when so many seconds are over."""
        until = time.monotonic() + seconds
        self._stopping = True
        while self._open and time.monotonic() < until:
            time.sleep(0.01)
        for _ in self._decoders:
            self._jobs.put(None)
        with self._arrived:
            self._waiting.extend([None] * len(self._threads))  # one each: a thread takes no second one
            self._arrived.notify_all()
        for thread in (*self._threads, *self._decoders):
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def _dead(self) -> bool:
        return self._failed is not None and not any(
            thread.is_alive() and thread is not threading.current_thread() for thread in self._threads
        )

    def _failure(self) -> BatchingFailed:
        return BatchingFailed(f"the thread that judges ended with {self._failed!r}: start the server again")

    def _decode_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._decode(job)
            except BaseException as error:  # ours, or from outside: it is this image's, and the thread goes on
                self._finish(job, BatchingFailed(f"decoding failed: {type(error).__name__}: {error}"))

    def _decode(self, job: Job) -> None:
        if job.dropped:
            self._close(job)
            return
        started = time.perf_counter()
        try:
            prepared = job.judging.prepare(job.data, job.every_face)
        except (MediaError, EngineError) as error:
            self._finish(job, Done((failed_record(error),), error))
            return
        except Exception as error:  # of a decoder: it is this image's, and the thread goes on
            unforeseen = MediaError(f"{NAME}: cannot be decoded: {type(error).__name__}: {error}")
            self._finish(job, Done((failed_record(unforeseen),), unforeseen))
            return
        finally:
            job.data = b""
        now = time.perf_counter()
        self._metrics.decode_seconds.observe(now - started)
        job.prepared, job.missing = prepared, len(prepared.units)
        job.outcomes = [None] * len(prepared.units)
        with self._arrived:
            dead = self._dead
            if not dead:
                self._waiting.extend(_Unit(job, place, unit, now) for place, unit in enumerate(prepared.units))
                self._arrived.notify(len(prepared.units))
        if dead:
            self._finish(job, self._failure())

    def _guard(self) -> None:
        batch: list[_Unit] = []
        try:
            while self._take(batch):
                self._judge(batch)
                batch.clear()
        except BaseException as error:
            with self._arrived:
                self._failed = error
                lost = {unit.job for unit in batch}
                if self._dead:
                    lost |= self._open
                    self._waiting.clear()
            for job in lost:
                self._finish(job, self._failure())

    def _take(self, batch: list[_Unit]) -> bool:
        """Fills the batch with what waits, of one bundle; False where the thread is to end."""
        with self._arrived:
            while not batch:
                while not self._waiting:
                    self._arrived.wait(POLL_SECONDS)
                    if not self._waiting and self._due_for_probe():
                        return True
                while self._waiting:
                    unit = self._waiting[0]
                    if unit is None:
                        if not batch:
                            self._waiting.popleft()
                            return False
                        break
                    if unit.job.dropped:
                        self._waiting.popleft()
                        self._unit_done(unit.job)
                        continue
                    if batch and unit.job.judging is not batch[0].job.judging:
                        break
                    if len(batch) == unit.job.judging.batch_maximum:
                        break
                    batch.append(unit)
                    self._waiting.popleft()
            if batch[0].job.judging.rounded:  # TensorRT keeps scratch memory for every batch size that occurs
                kept = 1 << (len(batch).bit_length() - 1)
                self._waiting.extendleft(reversed(batch[kept:]))
                del batch[kept:]
        return True

    def _judge(self, batch: Sequence[_Unit]) -> None:
        if not batch:
            self._finite, self._probed = self._probe(), time.monotonic()
            return
        started = time.perf_counter()
        for unit in batch:
            self._metrics.queue_seconds.observe(started - unit.since)
        outcomes = batch[0].job.judging.judge([unit.prepared for unit in batch])
        self._metrics.batch_size.observe(len(batch))
        self._metrics.engine_seconds.observe(time.perf_counter() - started)
        for unit, outcome in zip(batch, outcomes, strict=True):
            unit.job.outcomes[unit.place] = outcome
            self._unit_done(unit.job)
        if any(isinstance(outcome, EngineError) for outcome in outcomes):  # the image's fault, or the engines'?
            self._finite, self._probed = self._probe(), time.monotonic()
        else:
            self._finite = True

    def _unit_done(self, job: Job) -> None:
        with self._arrived:  # another thread may hold another face of the image
            job.missing -= 1
            complete = job.missing == 0
        if not complete:
            return
        if job.dropped:
            self._close(job)
        else:
            self._finish(job, _done(job))

    def _due_for_probe(self) -> bool:
        return not self._finite and time.monotonic() > self._probed + PROBE_SECONDS

    def _finish(self, job: Job, outcome: Done | BatchingFailed) -> None:
        if job in self._open and not job.dropped:
            job.finish(outcome)
        self._close(job)

    def _close(self, job: Job) -> None:
        with self._arrived:
            was_open = job in self._open
            self._open.discard(job)
        if was_open:
            job.release()


def _done(job: Job) -> Done:
    assert job.prepared is not None
    outcomes = [outcome for outcome in job.outcomes if outcome is not None]
    records = tuple(job.prepared.records(outcomes))
    failed = [outcome for outcome in outcomes if isinstance(outcome, EngineError)]
    return Done(records, failed[0] if len(failed) == len(outcomes) else None)
