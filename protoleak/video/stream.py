"""One source from its beginning to its end: the events that come of it."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.video.events import Event
from protoleak.video.frames import FrameSource
from protoleak.video.run import POLL_SECONDS, SharedResources, SourceRun
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import Sink

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline


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
        images, a FailureEvent for a face that could not be judged or a source that could not be read further, and one
        DriftEvent when the faces turn out to be unlike those of the calibration.

    Raises:
        MediaError: the source cannot be opened.
        ProtoleakError: there is no such detector; or whatever a sink raises.
    """
    settings = settings or StreamSettings()
    if isinstance(source, (str, os.PathLike)):
        from protoleak.video.sources.open import open_source

        source = open_source(os.fspath(source), isolate=pipeline.isolate)
    try:
        shared = SharedResources(pipeline, settings, detector or open_detector(settings, pipeline.bundle))
        run = SourceRun(shared, source, sinks)
        try:
            run.start()
            while not run.ended:
                yield from run.step(POLL_SECONDS)
        except (KeyboardInterrupt, GeneratorExit):
            run.interrupt()
            raise
        finally:
            run.stop()
    finally:
        source.close()
