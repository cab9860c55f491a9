"""Several sources in one process: cameras all at once, files one after another beside them.

Every source has threads of its own and fails, stalls and reconnects alone. They share one detector and one engine, at
which each has one turn after the other, so that none starves. The caller's thread takes a message of each in turn.

An address that isn't there at the start is tried again while others are screened. Where nothing else would be going on,
it is an error at once: somebody waits in front of a terminal, or a service manager starts the program again.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.video.events import Event, FailureEvent
from protoleak.video.opening import AnySource, Open, SourceOpening
from protoleak.video.run import POLL_SECONDS, SharedResources, SourceRun
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import AwaitingSink, SourcesSink
from protoleak.video.sources.network_settings import NetworkSettings
from protoleak.video.sources.open import is_live, open_source

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline


def streams(
    pipeline: ImagePipeline,
    sources: Sequence[AnySource],
    settings: StreamSettings | None = None,
    sinks: Sequence[SourcesSink] = (),
    detector: FaceDetector | None = None,
    *,
    opening: Open | None = None,
    network: NetworkSettings = NetworkSettings(),  # noqa: B008 frozen
) -> Generator[Event, None, None]:
    """The events of several sources, while they are being read; those of one source are in order of their frames.

    Live sources, and addresses that may be, are all opened and read at once, and files one after another. A source that
    cannot be opened or read is a FailureEvent, and the others go on; an address that cannot be opened is one when its
    patience is over, or nothing else is being screened any more. It ends when all have ended; closing it early, an
    exception in the caller's loop, and Ctrl-C end all of them as `stream` does.

    Args:
        sources: as in `stream`. They are closed at the end.
        sinks: see `SourcesSink`.
        detector: None for the one that the settings ask for.
        opening: opens a source by its name, in a thread of its own; None for `open_source`, isolated as the
            pipeline is.
        network: limits of addresses.

    Yields:
        As `stream`; the event's `source` says which it is of.

    Raises:
        ProtoleakError: there is no such detector; or whatever a sink raises, which ends all.
    """
    settings = settings or StreamSettings()
    shared = SharedResources(pipeline, settings, detector or open_detector(settings, pipeline.bundle))
    opening = opening or partial(open_source, network=network, isolate=pipeline.isolate)
    lanes = [_Lane(shared, [source], sinks, opening, network) for source in sources if _is_live(source)]
    if files := [source for source in sources if not _is_live(source)]:
        lanes.append(_Lane(shared, files, sinks, opening, network))
    try:
        while lanes := [lane for lane in lanes if not lane.ended]:
            with shared.arrived:
                shared.arrived.wait_for(lambda: any(lane.has_message for lane in lanes), POLL_SECONDS)
            if all(lane.awaiting for lane in lanes):
                for lane in lanes:
                    lane.give_up()
            for lane in lanes:
                yield from lane.step()
    except (KeyboardInterrupt, GeneratorExit):
        for lane in lanes:
            lane.interrupt()
        raise
    finally:
        for halting in [lane.halt() for lane in lanes]:
            halting.join()
        with ExitStack() as stack:  # each is finished, also when another's sink raises
            for lane in reversed(lanes):
                stack.callback(lane.stop)


class _Lane:
    """Sources that are screened one after another, beside those of other lanes.

    Attributes:
        ended: whether all are done.
    """

    def __init__(
        self,
        shared: SharedResources,
        sources: Sequence[AnySource],
        sinks: Sequence[SourcesSink],
        open_named: Open,
        network: NetworkSettings,
    ) -> None:
        self._shared, self._sinks, self._open_named, self._network = shared, sinks, open_named, network
        self._waiting = deque(sources)
        self._opening: SourceOpening | None = None
        self._announced = False  # that the source is awaited
        self._run: SourceRun | None = None
        self.ended = False
        self._next()

    @property
    def has_message(self) -> bool:
        """See `SourceRun.has_message`."""
        if self._run is not None:
            return self._run.has_message
        return self._opening is not None and (self._opening.done or (self.awaiting and not self._announced))

    @property
    def awaiting(self) -> bool:
        """Whether its source isn't there, and is tried again."""
        return self._opening is not None and not self._opening.done and self._opening.awaited is not None

    def give_up(self) -> None:
        """Has a source that is awaited fail."""
        if self._opening is not None:
            self._opening.give_up()

    def step(self) -> Iterator[Event]:
        """What there is to say now; it waits for nothing."""
        if self._run is not None:
            yield from self._run.step(0)
            if self._run.ended:
                run, self._run = self._run, None
                run.stop()
                self._next()
        elif self._opening is not None and self._opening.done:
            self._announced = False
            opening, self._opening = self._opening, None
            if isinstance(opening.outcome, FailureEvent):
                for sink in self._sinks:
                    sink.source_failed(opening.outcome)
                self._next()
                yield opening.outcome
            elif opening.outcome is not None:
                self._run = SourceRun(self._shared, opening.outcome, [sink.sink() for sink in self._sinks], alone=True)
                self._run.start()
        elif self._opening is not None and self._opening.awaited is not None and not self._announced:
            self._announced = True
            for sink in self._sinks:
                if isinstance(sink, AwaitingSink):
                    sink.source_awaited(self._opening.awaited)

    def interrupt(self) -> None:
        """Notes that somebody stopped it."""
        if self._run is not None:
            self._run.interrupt()

    def halt(self) -> threading.Thread:
        """Has the threads end; to be joined. Closing takes a moment for each source, so all are closed at once."""
        thread = threading.Thread(target=self._halt, name="protoleak-halting", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ends it; see `SourceRun.stop`."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()

    def _halt(self) -> None:
        if self._opening is not None:
            self._opening.close()
        if self._run is not None:
            self._run.halt()
        for source in self._waiting:
            if not isinstance(source, (str, os.PathLike)):
                source.close()

    def _next(self) -> None:
        self.ended = not self._waiting
        if self._waiting:
            self._opening = SourceOpening(
                self._waiting.popleft(), self._open_named, self._shared.arrived, self._network
            )


def _is_live(source: AnySource) -> bool:
    return is_live(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else source.info.live
