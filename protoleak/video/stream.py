"""Runs the stages of one source in threads: read → look → attribute → tell.

Reading decodes; looking finds and links faces; attributing runs the engines; telling happens in the thread that the
caller iterates in, and is where sinks are called. Between them stand bounded queues.

- A file's frames pass all stages in order and none is lost: whoever is ahead waits.
- Of a live source, only the newest frame that waits for the looker is kept, and only the newest image of each face
  that waits for the engines. So a verdict is never older than one look, one run of the engines and what the sinks take,
  however slow these are; what was given up is counted. Frames reach the sinks at once, with what is known by then: a
  FaceEvent may come after its frame.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence, Sized

from protoleak.errors import MediaError
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.video.aggregation import Ledger
from protoleak.video.attribution import attribute_in_order, attribute_newest
from protoleak.video.counters import Counters
from protoleak.video.events import Event
from protoleak.video.frames import Frame, FrameSource, Gap
from protoleak.video.messages import Broken, End, Failed, Over, Read, Seen, Shown, Told
from protoleak.video.queues import Channel, Stopped
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import Sink
from protoleak.video.tracking.stage import Looker
from protoleak.video.waiting import WaitingFaces

FRAMES_WAITING = 4  # in each queue of a file's stages: enough to ride out an engine run at 30 fps, 25 MB of 1920×1080
TOLD_WAITING = 8
POLL_SECONDS = 0.1  # how often the caller's thread looks up while nothing comes: for Ctrl-C, status and max_seconds
JOIN_SECONDS = 10.0  # for a thread to end; an engine's longest run, or a camera driver that doesn't let go


def stream(
    screener: ImagePipeline,
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
        sinks: who looks on; see `Sink`.
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

        source = open_source(os.fspath(source))
    try:
        detector = detector or open_detector(settings, screener.bundle)
        yield from _Run(screener, source, settings, sinks, detector).events()
    finally:
        source.close()


class _Run:
    """One source's threads and what stands between them."""

    def __init__(
        self,
        screener: ImagePipeline,
        source: FrameSource,
        settings: StreamSettings,
        sinks: Sequence[Sink],
        detector: FaceDetector,
    ) -> None:
        self._screener, self._source, self._settings = screener, source, settings
        live = source.info.live
        self._waiting = WaitingFaces() if live else None
        self._read: Channel[Read] = Channel(FRAMES_WAITING, (lambda item: isinstance(item, Frame)) if live else None)
        self._seen: Channel[Seen] = Channel(FRAMES_WAITING)
        self._told: Channel[Told] = Channel(TOLD_WAITING)
        queues: dict[str, Sized] = {"frames to look at": self._read, "to tell": self._told}
        if self._waiting is not None:
            queues["faces to attribute"] = self._waiting
        else:
            queues["frames to attribute"] = self._seen
        self._counters = Counters(source.info, queues)
        image_size = screener.bundle.manifest.preprocessing.image_size
        self._looker = Looker(detector, settings, image_size, self._waiting)
        self._ledger = Ledger(screener, settings.minimum_evidence, source.info, self._counters, sinks)
        self._closing = False
        stages = {"read": self._reading, "look": self._looking, "attribute": self._attributing}
        self._threads = [
            threading.Thread(target=self._guard, args=(name, stage), name=f"protoleak-{name}", daemon=True)
            for name, stage in stages.items()
        ]

    def events(self) -> Iterator[Event]:
        """See `stream`."""
        try:
            self._ledger.start()
            for thread in self._threads:
                thread.start()
            yield from self._telling()
        except (KeyboardInterrupt, GeneratorExit):
            self._counters.interrupted = True
            raise
        finally:
            self._stop()
            try:
                for _ in self._ledger.close():  # the sinks see the tracks that were open; nobody iterates any more
                    pass
            finally:
                self._ledger.finish()

    def _telling(self) -> Iterator[Event]:
        started, limit = time.monotonic(), self._settings.max_seconds
        while True:
            message = self._told.get(POLL_SECONDS)
            if isinstance(message, Broken):
                raise message.error
            if isinstance(message, End):
                yield from self._ledger.close()
                return
            if message is not None:
                yield from self._ledger.take(message)
            self._counters.clock_caller("tell")
            self._ledger.status()
            if limit is not None and self._source.info.live and time.monotonic() - started > limit + 1:
                self._close_source()  # it stalls: the reader, which knows the frames' own time, hasn't ended it

    def _guard(self, name: str, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Stopped:
            pass  # the caller's thread takes the stream down, and knows why
        except BaseException as error:
            self._told.put(Broken(error))
        finally:
            self._counters.clock(name)

    def _reading(self) -> None:
        counters, newest = self._counters, None
        try:
            for item in self._source:
                if isinstance(item, Frame):
                    if self._settings.max_seconds is not None and item.timestamp >= self._settings.max_seconds:
                        break
                    newest = item.timestamp
                    counters.frames_in += 1
                counters.frames_dropped += self._read.put(item)
                counters.clock("read")
        except MediaError as error:
            if not self._closing:
                self._read.put(Failed(str(error), newest))
        self._read.put(End())

    def _looking(self) -> None:
        waiting = self._waiting
        while True:
            item = self._read.get()
            if isinstance(item, Frame):
                self._look(item)
            elif isinstance(item, Gap):
                self._hand_on(item, self._looker.gap(item))
            elif isinstance(item, Failed):
                self._hand_on(item, [])
            elif isinstance(item, End):
                ended = self._looker.end()
                if waiting is None:
                    self._seen.put(Over(ended))
                    self._seen.put(item)
                else:
                    waiting.put([], ended, last=True)
                return

    def _look(self, frame: Frame) -> None:
        counters, looked = self._counters, self._looker.look(frame)
        counters.frames_processed += 1
        counters.faces += len(looked.faces)
        counters.tracks = self._looker.tracks
        counters.media_seconds = frame.timestamp
        if self._waiting is None:
            self._seen.put(looked)
        else:
            self._told.put(Shown(frame, looked.faces))
            self._waiting.put(looked.due, looked.ended)
        counters.clock("look")

    def _hand_on(self, item: Gap | Failed, ended: list[int]) -> None:
        if self._waiting is None:
            self._seen.put(Over(ended))
            self._seen.put(item)
        else:
            self._told.put(item)
            self._waiting.put([], ended)

    def _attributing(self) -> None:
        batch_size = self._settings.batch_size
        if self._waiting is None:
            work = attribute_in_order(self._screener, batch_size, self._seen, self._told.put)
        else:
            work = attribute_newest(self._screener, batch_size, self._waiting, self._told.put)
        for _ in work:
            self._counters.clock("attribute")
            if self._waiting is not None:
                self._counters.faces_given_up = self._waiting.given_up

    def _close_source(self) -> None:
        self._closing = True
        self._source.close()

    def _stop(self) -> None:
        for queue in (self._read, self._seen, self._told):
            queue.stop()
        if self._waiting is not None:
            self._waiting.stop()
        self._close_source()
        until = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        if left := [thread.name for thread in self._threads if thread.is_alive()]:
            warnings.warn(f"{self._source.info.name}: {', '.join(left)} still runs", ResourceWarning, stacklevel=2)
