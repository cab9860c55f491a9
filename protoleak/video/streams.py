"""Several sources in one process: cameras all at once, files one after another beside them.

Every source has threads of its own and fails, stalls and reconnects alone. They share one detector and one engine, at
which each has one turn after the other, so that none starves. The caller's thread takes a message of each in turn.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from protoleak.errors import MediaError, MissingExtra
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.images.sources import printable
from protoleak.video.events import Event, FailureEvent
from protoleak.video.frames import FrameSource
from protoleak.video.run import POLL_SECONDS, SharedResources, SourceRun
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import SourcesSink
from protoleak.video.sources.open import is_live, open_source
from protoleak.video.sources.redaction import without_secrets

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline

AnySource: TypeAlias = "FrameSource | str | os.PathLike[str]"
Open: TypeAlias = Callable[[str], FrameSource]


def streams(
    pipeline: ImagePipeline,
    sources: Sequence[AnySource],
    settings: StreamSettings | None = None,
    sinks: Sequence[SourcesSink] = (),
    detector: FaceDetector | None = None,
    *,
    opening: Open | None = None,
) -> Generator[Event, None, None]:
    """The events of several sources, while they are being read; those of one source are in order of their frames.

    Live sources, and addresses that may be, are all opened and read at once, and files one after another. A source that
    cannot be opened or read is a FailureEvent, and the others go on. It ends when all have ended; closing it early, an
    exception in the caller's loop, and Ctrl-C end all of them as `stream` does.

    Args:
        sources: as in `stream`. They are closed at the end.
        sinks: see `SourcesSink`.
        detector: None for the one that the settings ask for.
        opening: opens a source by its name, in a thread of its own; None for `open_source`, isolated as the
            pipeline is.

    Yields:
        As `stream`; the event's `source` says which it is of.

    Raises:
        ProtoleakError: there is no such detector; or whatever a sink raises, which ends all.
    """
    settings = settings or StreamSettings()
    shared = SharedResources(pipeline, settings, detector or open_detector(settings, pipeline.bundle))
    opening = opening or partial(open_source, isolate=pipeline.isolate)
    lanes = [_Lane(shared, [source], sinks, opening) for source in sources if _is_live(source)]
    if files := [source for source in sources if not _is_live(source)]:
        lanes.append(_Lane(shared, files, sinks, opening))
    try:
        while lanes := [lane for lane in lanes if not lane.ended]:
            with shared.arrived:
                shared.arrived.wait_for(lambda: any(lane.has_message for lane in lanes), POLL_SECONDS)
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
        self, shared: SharedResources, sources: Sequence[AnySource], sinks: Sequence[SourcesSink], open_named: Open
    ) -> None:
        self._shared, self._sinks, self._open_named = shared, sinks, open_named
        self._waiting = deque(sources)
        self._opening: _Opening | None = None
        self._run: SourceRun | None = None
        self.ended = False
        self._next()

    @property
    def has_message(self) -> bool:
        """See `SourceRun.has_message`."""
        if self._run is not None:
            return self._run.has_message
        return self._opening is not None and self._opening.done

    def step(self) -> Iterator[Event]:
        """What there is to say now; it waits for nothing."""
        if self._run is not None:
            yield from self._run.step(0)
            if self._run.ended:
                run, self._run = self._run, None
                run.stop()
                self._next()
        elif self._opening is not None and self._opening.done:
            opening, self._opening = self._opening, None
            if isinstance(opening.outcome, FailureEvent):
                for sink in self._sinks:
                    sink.source_failed(opening.outcome)
                self._next()
                yield opening.outcome
            elif opening.outcome is not None:
                self._run = SourceRun(self._shared, opening.outcome, [sink.sink() for sink in self._sinks], alone=True)
                self._run.start()

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
            self._opening = _Opening(self._waiting.popleft(), self._open_named, self._shared.arrived)


class _Opening:
    """Opens a source in a thread of its own: a camera that doesn't answer holds nobody up.

    Attributes:
        outcome: the source, or why it cannot be opened; None before.
    """

    def __init__(self, source: AnySource, open_named: Open, arrived: threading.Condition) -> None:
        self._open_named, self._arrived = open_named, arrived
        self._closed = False
        self.outcome: FrameSource | FailureEvent | None = None
        if isinstance(source, (str, os.PathLike)):
            name = os.fspath(source)
            threading.Thread(target=self._open, args=(name,), name="protoleak-opening", daemon=True).start()
        else:
            self.outcome = source

    @property
    def done(self) -> bool:
        return self.outcome is not None

    def close(self) -> None:
        """Closes the source, now or as soon as it is open."""
        with self._arrived:
            self._closed = True
            outcome = self.outcome
        if outcome is not None and not isinstance(outcome, FailureEvent):
            outcome.close()

    def _open(self, name: str) -> None:
        outcome: FrameSource | FailureEvent
        try:
            outcome = self._open_named(name)
        except (MediaError, MissingExtra) as error:
            outcome = FailureEvent(source=printable(without_secrets(name)), message=str(error))
        except Exception as error:  # a library's: it ends this source, not the others
            shown = printable(without_secrets(name))
            outcome = FailureEvent(source=shown, message=f"{shown}: cannot be opened: {type(error).__name__}: {error}")
        with self._arrived:
            self.outcome = outcome
            self._arrived.notify_all()
            closed = self._closed
        if closed and not isinstance(outcome, FailureEvent):
            outcome.close()


def _is_live(source: AnySource) -> bool:
    return is_live(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else source.info.live
