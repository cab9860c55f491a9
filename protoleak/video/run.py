"""One source's stages, and the threads that they run in: decoding → tracking → attribution → aggregation → sinks."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import FOUND_SIDE, SURE_SIDE, FaceDetector, ThriftyDetector
from protoleak.video.aggregation import TrackAggregator
from protoleak.video.attribution import AttributionStage
from protoleak.video.events import Event
from protoleak.video.frames import Frame, FrameSource
from protoleak.video.messages import Attributed, EndOfStream, SourceFailed, StageError, TrackedFrame
from protoleak.video.queues import Stopped, Turns
from protoleak.video.schedulers import InOrder, Latest, Scheduler
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import Sink
from protoleak.video.statistics import Counters
from protoleak.video.tracking.foresight import ForesightTracking
from protoleak.video.tracking.hindsight import HindsightTracking
from protoleak.video.tracking.stage import TrackingStage

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline

POLL_SECONDS = 0.1  # how often the caller's thread wakes while nothing comes: for Ctrl-C, status and max_seconds
JOIN_SECONDS = 3.0  # for threads to end; an engine's run, or a camera driver that doesn't let go


@dataclass(frozen=True)
class SharedResources:
    """What the sources that are screened at once share.

    Attributes:
        detector: for one thread at a time.
        detecting, attributing: whose turn it is.
        arrived: notified when any source has a message for the caller's thread.
    """

    pipeline: ImagePipeline
    settings: StreamSettings
    detector: FaceDetector
    detecting: Turns = field(default_factory=Turns)
    attributing: Turns = field(default_factory=Turns)
    arrived: threading.Condition = field(default_factory=threading.Condition)


class SourceRun:
    """Screens one opened source. Used by the thread that the caller iterates in: `start`, then `step` until `ended`,
    and `stop` whatever happens.

    Args:
        alone: what a stage raises is reported and ends this source; else it is raised.

    Attributes:
        ended: whether the last event was given.
    """

    def __init__(
        self, shared: SharedResources, source: FrameSource, sinks: Sequence[Sink], *, alone: bool = False
    ) -> None:
        self._shared, self._source, settings, pipeline = shared, source, shared.settings, shared.pipeline
        kind = Latest if source.info.live else InOrder
        self._scheduler: Scheduler = kind(shared.arrived)
        self._counters = Counters(source.info, self._scheduler.queues)
        image_size = pipeline.bundle.manifest.preprocessing.image_size
        detector = shared.detector
        instant = source.info.live or settings.detect_every == 0
        if isinstance(detector, ThriftyDetector) and (source.info.live or settings.detect_every > 0):
            detector = detector.thrifty(FOUND_SIDE if source.info.live else SURE_SIDE)
        tracking = ForesightTracking if instant else HindsightTracking
        self._tracking: TrackingStage = tracking(detector, settings, image_size, self._scheduler.pending)
        self._attribution = AttributionStage(pipeline, settings.batch_size, settings.margin)
        self._aggregator = TrackAggregator(pipeline, settings.minimum_evidence, source.info, self._counters, sinks)
        self._alone, self._closing = alone, False
        self.ended = False
        stages = {"decoding": self._decode, "tracking": self._track, "attribution": self._attribute}
        self._threads = [
            threading.Thread(target=self._guard, args=(name, stage), name=f"protoleak-{name}", daemon=True)
            for name, stage in stages.items()
        ]

    @property
    def has_message(self) -> bool:
        """Whether `step` has something to do; for whoever holds `SharedResources.arrived`."""
        return len(self._scheduler.attributed) > 0

    def start(self) -> None:
        """Announces the source to the sinks and starts the threads."""
        self._aggregator.start()
        for thread in self._threads:
            thread.start()

    def step(self, seconds: float) -> Iterator[Event]:
        """The events of the next message, if one comes within so many seconds.

        Raises:
            Exception: what a stage or a sink raised.
        """
        message = self._scheduler.attributed.get_within(seconds)
        if isinstance(message, StageError):
            if not self._alone:
                raise message.error
            yield from self._aggregator.take(self._broken(message.error))
            message = EndOfStream()
        if isinstance(message, EndOfStream):
            yield from self._aggregator.end_tracks()
            self.ended = True
            return
        if message is not None:
            yield from self._aggregator.take(message)
        self._counters.spent_by_caller("aggregation")
        self._aggregator.status()
        limit = self._shared.settings.max_seconds
        if limit is not None and self._scheduler.overdue(limit):
            self._close_source()  # it stalls: no frame comes whose timestamp would end the decoding

    def interrupt(self) -> None:
        """Notes that somebody stopped it."""
        self._counters.interrupted = True

    def stop(self) -> None:
        """Ends the threads, closes the source, and finishes the sinks with the events of the tracks that are open.

        Raises:
            Exception: what a sink raised.
        """
        self.halt()
        until = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        if left := [thread.name for thread in self._threads if thread.is_alive()]:
            warnings.warn(f"{self._source.info.name}: {', '.join(left)} still runs", ResourceWarning, stacklevel=2)
        try:
            for _ in self._aggregator.end_tracks():  # the sinks see the open tracks; nobody iterates any more
                pass
        finally:
            self._aggregator.finish()

    def halt(self) -> None:
        """Has the threads end and closes the source, without waiting for either; for any thread."""
        self._scheduler.stop()
        self._close_source()

    def _broken(self, error: BaseException) -> SourceFailed:
        name, kind = self._source.info.name, "" if isinstance(error, ProtoleakError) else f"{type(error).__name__}: "
        return SourceFailed(f"{name}: cannot be screened further: {kind}{error}", None)

    def _decode(self) -> None:
        scheduler, counters, newest = self._scheduler, self._counters, None
        limit = self._shared.settings.max_seconds
        try:
            for item in self._source:
                if isinstance(item, Frame):
                    if limit is not None and item.timestamp >= limit:
                        break
                    newest = item.timestamp
                    counters.frames_in += 1
                scheduler.put_decoded(item)
                counters.frames_dropped = scheduler.frames_dropped
                counters.spent("decoding")
        except MediaError as error:
            if not self._closing:
                scheduler.put_decoded(SourceFailed(str(error), newest))
        scheduler.put_decoded(EndOfStream())

    def _track(self) -> None:
        scheduler, counters = self._scheduler, self._counters
        decoded = None
        while not isinstance(decoded, EndOfStream):
            scheduler.wait_decoded()
            with self._shared.detecting:  # and only then the frame: while others have their turn a newer one may come
                decoded = scheduler.get_decoded()
                messages = self._tracking.track(decoded)
            for message in messages:
                if isinstance(message, TrackedFrame):
                    counters.tracked(message, self._tracking.tracks)
                scheduler.put_tracked(message)
            counters.spent("tracking")

    def _attribute(self) -> None:
        scheduler, last = self._scheduler, False
        while not last:
            scheduler.wait_batch()
            with self._shared.attributing:
                batch = scheduler.next_batch(self._attribution.batch_size)
                messages: list[Attributed] = list(self._attribution.attribute(batch))
            for message in messages:
                scheduler.attributed.put(message)
                last = isinstance(message, EndOfStream)
            self._counters.faces_given_up = scheduler.faces_given_up
            self._counters.spent("attribution")

    def _guard(self, name: str, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Stopped:
            pass  # the caller's thread takes the stream down, and knows why
        except BaseException as error:
            with contextlib.suppress(Stopped):
                self._scheduler.attributed.put(StageError(error))
        finally:
            self._counters.spent(name)

    def _close_source(self) -> None:
        self._closing = True
        self._source.close()
