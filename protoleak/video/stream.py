"""Runs the stages of one source: decoding → tracking → attribution → aggregation → sinks.

Decoding reads frames; tracking finds faces and follows them; attribution runs the engines. Each has a thread of its
own. Aggregation merges the verdicts of each track and calls the sinks, in the thread that the caller iterates in. What
stands between them is a `Scheduler`: of a file everything in order, of a live source the newest only.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from protoleak.errors import MediaError
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.video.aggregation import TrackAggregator
from protoleak.video.attribution import AttributionStage
from protoleak.video.events import Event
from protoleak.video.frames import Frame, FrameSource
from protoleak.video.messages import EndOfStream, SourceFailed, StageError, TrackedFrame
from protoleak.video.queues import Stopped
from protoleak.video.schedulers import InOrder, Latest, Scheduler
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import Sink
from protoleak.video.statistics import Counters
from protoleak.video.tracking.stage import TrackingStage

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline

POLL_SECONDS = 0.1  # how often the caller's thread wakes while nothing comes: for Ctrl-C, status and max_seconds
JOIN_SECONDS = 10.0  # for a thread to end; an engine's longest run, or a camera driver that doesn't let go


def stream(
    pipeline: ImagePipeline,
    source: FrameSource | str | os.PathLike[str],
    settings: StreamSettings | None = None,
    sinks: Sequence[Sink] = (),
    detector: FaceDetector | None = None,
) -> Generator[Event, None, None]:
    """The events of one source, in order of their frames, while it is being read.

    Closing the iterator early, an exception in the caller's loop, and Ctrl-C all stop the threads, close the source,
    and finish the sinks with the events of the tracks that were open.

    Args:
        source: an opened source, or the name of one (a file, a camera's number, an address). It is closed at the end.
        sinks: see `Sink`.
        detector: None for the one that the settings ask for.

    Yields:
        A FaceEvent per attributed face, a TrackEvent per track when it has ended, a GapEvent per stretch without
        images, a FailureEvent for a face that could not be judged or a source that could not be read further.

    Raises:
        MediaError: the source cannot be opened.
        ProtoleakError: there is no such detector; or whatever a sink raises.
    """
    settings = settings or StreamSettings()
    if isinstance(source, (str, os.PathLike)):
        from protoleak.video.sources.open import open_source

        source = open_source(os.fspath(source), isolate=pipeline.isolate)
    try:
        detector = detector or open_detector(settings, pipeline.bundle)
        yield from _Run(pipeline, source, settings, sinks, detector).events()
    finally:
        source.close()


class _Run:
    """One source's stages and the threads that they run in."""

    def __init__(
        self,
        pipeline: ImagePipeline,
        source: FrameSource,
        settings: StreamSettings,
        sinks: Sequence[Sink],
        detector: FaceDetector,
    ) -> None:
        self._source, self._settings = source, settings
        self._scheduler: Scheduler = Latest() if source.info.live else InOrder()
        self._counters = Counters(source.info, self._scheduler.queues)
        image_size = pipeline.bundle.manifest.preprocessing.image_size
        self._tracking = TrackingStage(detector, settings, image_size, self._scheduler.pending)
        self._attribution = AttributionStage(pipeline, settings.batch_size, settings.margin)
        self._aggregator = TrackAggregator(pipeline, settings.minimum_evidence, source.info, self._counters, sinks)
        self._closing = False
        stages = {"decoding": self._decode, "tracking": self._track, "attribution": self._attribute}
        self._threads = [
            threading.Thread(target=self._guard, args=(name, stage), name=f"protoleak-{name}", daemon=True)
            for name, stage in stages.items()
        ]

    def events(self) -> Iterator[Event]:
        """See `stream`."""
        try:
            self._aggregator.start()
            for thread in self._threads:
                thread.start()
            yield from self._aggregate()
        except (KeyboardInterrupt, GeneratorExit):
            self._counters.interrupted = True
            raise
        finally:
            self._stop()
            try:
                for _ in self._aggregator.end_tracks():  # the sinks see the open tracks; nobody iterates any more
                    pass
            finally:
                self._aggregator.finish()

    def _decode(self) -> None:
        scheduler, counters, newest = self._scheduler, self._counters, None
        try:
            for item in self._source:
                if isinstance(item, Frame):
                    if self._settings.max_seconds is not None and item.timestamp >= self._settings.max_seconds:
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
            decoded = scheduler.get_decoded()
            for message in self._tracking.track(decoded):
                if isinstance(message, TrackedFrame):
                    counters.tracked(message, self._tracking.tracks)
                scheduler.put_tracked(message)
            counters.spent("tracking")

    def _attribute(self) -> None:
        scheduler, last = self._scheduler, False
        while not last:
            batch = scheduler.next_batch(self._attribution.batch_size)
            for message in self._attribution.attribute(batch):
                scheduler.attributed.put(message)
                last = isinstance(message, EndOfStream)
            self._counters.faces_given_up = scheduler.faces_given_up
            self._counters.spent("attribution")

    def _aggregate(self) -> Iterator[Event]:
        limit = self._settings.max_seconds
        while True:
            message = self._scheduler.attributed.get_within(POLL_SECONDS)
            if isinstance(message, StageError):
                raise message.error
            if isinstance(message, EndOfStream):
                yield from self._aggregator.end_tracks()
                return
            if message is not None:
                yield from self._aggregator.take(message)
            self._counters.spent_by_caller("aggregation")
            self._aggregator.status()
            if limit is not None and self._scheduler.overdue(limit):
                self._close_source()  # it stalls: no frame comes whose timestamp would end the decoding

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

    def _stop(self) -> None:
        self._scheduler.stop()
        self._close_source()
        until = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        if left := [thread.name for thread in self._threads if thread.is_alive()]:
            warnings.warn(f"{self._source.info.name}: {', '.join(left)} still runs", ResourceWarning, stacklevel=2)
