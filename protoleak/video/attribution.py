"""The stage that runs sampled faces through the engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from protoleak.errors import EngineError, MediaError
from protoleak.images.preprocess import preprocess
from protoleak.runtime.verdict import Verdict
from protoleak.video.messages import Attributed, AttributedFace, SampledFace

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline

Outcome: TypeAlias = Verdict | MediaError | EngineError


class AttributionStage:
    """Gives every sampled face its verdict. Used by one thread.

    Args:
        batch_size: faces that go through the engines together, at most.
    """

    def __init__(self, pipeline: ImagePipeline, batch_size: int) -> None:
        self._pipeline, self.batch_size = pipeline, batch_size
        self._image_size = pipeline.bundle.manifest.preprocessing.image_size

    def attribute(self, batch: Sequence[SampledFace | Attributed]) -> Iterator[Attributed]:
        """The batch in its order, each face with its verdict or the error that names it; messages pass through."""
        sampled = [message for message in batch if isinstance(message, SampledFace)]
        crops = [preprocess(Image.fromarray(face.crop), self._image_size) for face in sampled]
        outcomes = self._pipeline.each(crops, self.batch_size) if crops else ()
        attributed = [
            AttributedFace(face, crop, _named(outcome, face, index))
            for index, (face, crop, outcome) in enumerate(zip(sampled, crops, outcomes, strict=True))
        ]
        faces = iter(attributed)
        for message in batch:
            yield next(faces) if isinstance(message, SampledFace) else message


def _named(outcome: Outcome, face: SampledFace, index: int) -> Outcome:
    """The outcome; an error by the face's frame and track in place of its number in the batch."""
    if isinstance(outcome, MediaError | EngineError):
        reason = str(outcome).removeprefix(f"image {index}: ")
        return type(outcome)(f"frame {face.frame.index}, track {face.track}: {reason}")
    return outcome
