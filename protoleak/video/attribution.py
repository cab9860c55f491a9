"""The stage that gives due faces to the screener."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from protoleak.errors import EngineError, MediaError
from protoleak.images.preprocess import preprocess
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.video.messages import Answered, DueFace, End, Looked, Over, Seen, Shown, Told
from protoleak.video.queues import Channel
from protoleak.video.waiting import WaitingFaces

FRAMES_HELD = 8  # by one batch: 50 MB of 1920×1080


def attribute(screener: ImagePipeline, due: Sequence[DueFace], batch_size: int) -> list[Answered]:
    """One answer per face, in order."""
    size = screener.bundle.manifest.preprocessing.image_size
    crops = [preprocess(Image.fromarray(face.crop), size) for face in due]
    answers = []
    for index, (face, crop, outcome) in enumerate(
        zip(due, crops, screener.each(crops, batch_size) if crops else (), strict=True)
    ):
        if isinstance(outcome, MediaError | EngineError):
            reason = str(outcome).removeprefix(f"image {index}: ")
            outcome = type(outcome)(f"frame {face.frame.index}, track {face.track}: {reason}")
        answers.append(Answered(face, crop, outcome))
    return answers


def attribute_in_order(
    screener: ImagePipeline, batch_size: int, seen: Channel[Seen], tell: Callable[[Told], object]
) -> Iterator[None]:
    """Of a file: frames wait for the verdicts of their own faces, and everything leaves in the order in which it came.

    Due faces of frames that are at hand go through the engines together, up to `batch_size`; nothing is waited for.

    Yields:
        After each batch.

    Raises:
        Stopped: the stream is being taken down.
    """
    while True:
        batch = _at_hand(seen, batch_size)
        due = [face for item in batch if isinstance(item, Looked) for face in item.due]
        answers = iter(attribute(screener, due, batch_size))
        for item in batch:
            if isinstance(item, Looked):
                for _ in item.due:
                    tell(next(answers))
                tell(Shown(item.frame, item.faces))
                if item.ended:
                    tell(Over(item.ended))
            else:
                tell(item)
        yield
        if isinstance(batch[-1], End):
            return


def attribute_newest(
    screener: ImagePipeline, batch_size: int, waiting: WaitingFaces, tell: Callable[[Told], object]
) -> Iterator[None]:
    """Of a live source: what waits when the engine is free. Frames don't come this way.

    Yields:
        After each batch.

    Raises:
        Stopped: the stream is being taken down.
    """
    last = False
    while not last:
        work = waiting.take(batch_size)
        for answer in attribute(screener, work.due, batch_size):
            tell(answer)
        if work.ended:
            tell(Over(work.ended))
        yield
        last = work.last
    tell(End())


def _at_hand(seen: Channel[Seen], batch_size: int) -> list[Seen]:
    """At least one item, and with a due face in it whatever else waits already, up to `batch_size` faces or the end."""
    batch: list[Seen] = []
    faces = 0
    item = seen.get()
    while item is not None:
        batch.append(item)
        faces += len(item.due) if isinstance(item, Looked) else 0
        if isinstance(item, End) or not 0 < faces < batch_size or len(batch) == FRAMES_HELD:
            break
        item = seen.get(timeout=0)
    return batch
