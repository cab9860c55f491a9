"""The life of a server's bundle: loaded and warmed, judging, replaced by another one, ended; and what is accepted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from protoleak.errors import EngineError, MediaError, ProtoleakError
from protoleak.image_records import Identity
from protoleak.runtime.drift import DriftEvent
from protoleak.serving.about import about
from protoleak.serving.batcher import Batcher, BatchingFailed, Done, Job
from protoleak.serving.drift import DriftWatch, SourceDrift
from protoleak.serving.judging import BundleJudge, failed_record
from protoleak.serving.metrics import Metrics
from protoleak.serving.refusal import ClientLeft, Refusal, busy, overloaded
from protoleak.serving.settings import ServeSettings
from protoleak.serving.streams import Streams
from protoleak.version import __version__

Open: TypeAlias = Callable[[], BundleJudge]


@dataclass(frozen=True)
class Judged:
    """What came of one image, and what its records have in common."""

    done: Done
    identity: Identity


class Service:
    """Everything behind the endpoints. Its methods are for the event loop's thread, but for `load`.

    Args:
        opening: opens and warms the bundle, anew with each call.
        notify: takes one line for the log.

    Attributes:
        stopping: whether it takes nothing more.
        metrics: that count.
        streams: live sources.
    """

    def __init__(self, settings: ServeSettings, opening: Open, notify: Callable[[str], None]) -> None:
        self.settings, self.metrics = settings, Metrics()
        self._opening, self._notify = opening, notify
        self._judge: BundleJudge | None = None
        self._batcher: Batcher | None = None
        self._drift: DriftWatch | None = None
        self._accepted = 0  # images that are not answered yet
        self._bodies_in_reading = 0
        self.stopping = False
        self.streams = Streams(settings.stream_hosts, settings.streams, lambda: self.stopping, self._drifted)

    @property
    def judge(self) -> BundleJudge:
        """What judges now.

        Raises:
            Refusal: nothing does.
        """
        if self._judge is None or self._batcher is None:
            raise busy("not_ready", "the bundle is being loaded")
        return self._judge

    def acquired(self) -> BundleJudge:
        """What judges now, which stays open until it is released.

        Raises:
            Refusal: nothing does.
        """
        while not (judge := self.judge).acquire():  # it was replaced just now
            pass
        return judge

    @property
    def why_not_ready(self) -> str | None:
        """None where it is ready."""
        if self.stopping:
            return "stopping"
        if self._judge is None or self._batcher is None:
            return "the bundle is being loaded"
        if not self._batcher.well:
            return "a thread that judges has ended, or the engines give nothing finite"
        return None

    def load(self) -> None:
        """Opens the bundle, in place of one that is open; for a thread that may be kept waiting.

        Raises:
            ProtoleakError: it is not usable; the one that is open stays.
        """
        judge = self._opening()
        self._drift = DriftWatch(judge, self.settings.workers)  # of another bundle's calibration nothing is known yet
        before, self._judge = self._judge, judge
        if self._batcher is None:
            settings = self.settings
            self._batcher = Batcher(
                self.metrics, self._probe, threads=settings.batching_threads, decoders=settings.options.decoders
            )
        engine = judge.screener.engine
        record = judge.screener.bundle_record
        self.metrics.build(
            {
                "version": __version__,
                "bundle": record.name,
                "sha256": record.sha256,
                "variant": record.variant,
                "engine": engine.name,
            }
        )
        if before is not None:
            before.retire()

    def reload(self) -> None:
        """Loads the bundle anew; a bad one is refused with a line, and the old one stays. For a thread of its own."""
        try:
            self.load()
        except Exception as error:  # whatever is wrong with the new one: the old one is well
            self.metrics.reloads.labels("refused").inc()
            kind = "" if isinstance(error, ProtoleakError) else f"{type(error).__name__}: "
            self._notify(f"reload refused, the bundle that is open stays: {kind}{error}")
        else:
            self.metrics.reloads.labels("loaded").inc()
            self._notify(f"reloaded: {self.description}")

    @property
    def description(self) -> str:
        """What is served, in a few words."""
        judge = self.judge
        record, engine = judge.screener.bundle_record, judge.screener.engine
        arithmetic = "" if engine.compute == "exact" else f" in {engine.compute}"
        return f"bundle {record.name} {record.sha256[:12]}…, variant {record.variant}, engine {engine.name}{arithmetic}"

    def about(self) -> dict[str, Any]:
        """What /v1/bundle says."""
        judge, settings = self.judge, self.settings
        return about(judge) | {
            "limits": msgspec.to_builtins(settings.limits),
            "batch_maximum": settings.options.batch_maximum,
            "isolate": settings.options.isolate,
            "streams": bool(settings.stream_hosts),
        }

    def drift(self) -> list[SourceDrift]:
        """What /v1/drift says: the evidence of this process."""
        return [] if self._drift is None else list(self._drift.all())

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While a body is read."""
        self._bodies_in_reading += 1
        try:
            yield
        finally:
            self._bodies_in_reading -= 1

    def check_room(self, images: int) -> None:
        """Raises Refusal where so many images more are not taken now."""
        self._check_room(self._accepted + images)

    def check_room_to_read(self) -> None:
        """Raises Refusal where no further body is read now: while the queue is full, or as many are being read as may
        wait, so that bodies don't fill the memory."""
        self._check_room(max(self._accepted, self._bodies_in_reading) + 1)

    def _check_room(self, images: int) -> None:
        limit = self.settings.limits.queue
        if images > limit:
            self.metrics.rejected.labels("overloaded").inc()
            raise overloaded(limit)

    async def outcomes(
        self,
        images: Sequence[bytes | MediaError],
        every_face: bool,
        left: asyncio.Future[None],
        until: float,
        source: str | None = None,
    ) -> list[Judged]:
        """What comes of each image, in order.

        Args:
            left: is done when the client has gone.
            until: when the client's time is up, by time.monotonic.
            source: where the images are from, as the client calls it; None where it doesn't say.

        Raises:
            Refusal: no room for them, their time is up, the threads failed, or no detector finds faces here.
            ClientLeft: as `left` says.
        """
        self.check_room(len(images))
        judge, batcher = self.acquired(), self._batcher
        assert batcher is not None
        loop = asyncio.get_running_loop()
        jobs: list[Job] = []
        waiting: list[asyncio.Future[Done | BatchingFailed]] = []
        self._count(len(images))
        try:
            try:
                identity = judge.identity(every_face)
            except ProtoleakError as error:  # every face is asked for, and there is no detector to find them
                raise Refusal(400, "no_detector", str(error)) from None
            for image in images:
                future: asyncio.Future[Done | BatchingFailed] = loop.create_future()
                waiting.append(future)
                if isinstance(image, MediaError):
                    future.set_result(Done((failed_record(image),), image))
                    continue
                judge.acquire()
                job = Job(image, every_face, judge, _finisher(loop, future), judge.release)
                jobs.append(job)
                batcher.submit(job)
            everything: asyncio.Future[Any] = waiting[0] if len(waiting) == 1 else asyncio.gather(*waiting)
            both: set[asyncio.Future[Any]] = {everything, left}
            await asyncio.wait(both, timeout=max(0.0, until - time.monotonic()), return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                everything.cancel()
                if left.done():
                    raise ClientLeft
                self.metrics.rejected.labels("timeout").inc()
                seconds = self.settings.limits.seconds
                raise Refusal(504, "timeout", f"no verdict within {seconds:g} s: dropped before the engines")
            done = [future.result() for future in waiting]
        finally:
            for job in jobs:
                job.drop()
            self._count(-len(images))
            judge.release()
        judged = []
        for outcome in done:
            if isinstance(outcome, BatchingFailed):
                raise Refusal(500, "internal_error", str(outcome))
            for record in outcome.records:
                self.metrics.images.labels(record.verdict.label if record.verdict else record.outcome).inc()
            self._watch(judge, source, outcome)
            judged.append(Judged(outcome, identity))
        return judged

    def close(self, seconds: float) -> None:
        """Ends the threads and gives the engines back, within so many seconds."""
        self.streams.close()
        if self._batcher is not None:
            self._batcher.stop(seconds)
        if self._judge is not None:
            self._judge.retire()

    def _watch(self, judge: BundleJudge, source: str | None, done: Done) -> None:
        """Keeps the evidence that a source's images are unlike the calibration's."""
        watch = self._drift
        if watch is None or watch.judge is not judge:  # a bundle was loaded meanwhile
            return
        taken = watch.take(source, done.records, self.metrics.forget_source)
        if taken is not None:
            monitor, event = taken
            self.metrics.show_evidence(source or "", monitor.evidence)
            if event is not None:
                self._drifted(event)

    def _drifted(self, event: DriftEvent) -> None:
        self.metrics.drifts.inc()
        self._notify(f"drift: {event.source}: {event}")

    def _count(self, images: int) -> None:
        self._accepted += images
        self.metrics.depth.set(self._accepted)

    def _probe(self) -> bool:
        judge = self._judge
        if judge is None:
            return False
        try:
            return judge.probe()
        except EngineError:
            return False


def _finisher(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Done | BatchingFailed]
) -> Callable[[Done | BatchingFailed], None]:
    def set_result(outcome: Done | BatchingFailed) -> None:
        if not future.done():
            future.set_result(outcome)

    def finish(outcome: Done | BatchingFailed) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(set_result, outcome)

    return finish
