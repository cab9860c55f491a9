"""The stage that runs sampled faces through the engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from protoleak.arrays import UInt8Array
from protoleak.errors import EngineError, MediaError
from protoleak.faces.crops import frame_faces
from protoleak.runtime.verdict import Verdict
from protoleak.video.messages import Attributed, AttributedFace, SampledFace

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline
    from protoleak.runtime.prepared import FramedFace

Outcome: TypeAlias = Verdict | MediaError | EngineError


class AttributionStage:
    """Gives every sampled face its verdict. Used by one thread.

    Args:
        batch_size: faces that go through the engines together, at most.
        margin: see `faces.crops.frame_faces`.
    """

    def __init__(self, pipeline: ImagePipeline, batch_size: int, margin: float) -> None:
        self._pipeline, self.batch_size, self._margin = pipeline, batch_size, margin

    def attribute(self, batch: Sequence[SampledFace | Attributed]) -> Iterator[Attributed]:
        """The batch in its order, each face with its verdict or the error that names it; messages pass through."""
        sampled = [message for message in batch if isinstance(message, SampledFace)]
        found = [(face.frame.image, face.face.box) for face in sampled]
        framed = frame_faces(self._pipeline, found, self._margin)
        outcomes = self._pipeline.each(framed, self.batch_size) if framed else ()
        attributed = [
            AttributedFace(face, self._shown(looks), _named(outcome, face, index))
            for index, (face, looks, outcome) in enumerate(zip(sampled, framed, outcomes, strict=True))
        ]
        faces = iter(attributed)
        for message in batch:
            yield next(faces) if isinstance(message, SampledFace) else message

    def _shown(self, framed: FramedFace) -> UInt8Array:
        """The look uint8 [S, S, 3] that shows a person which face it is."""
        looks = self._pipeline.framing.looks
        shown: UInt8Array = framed.pixels[looks.index("face") if "face" in looks else 0]
        return shown


def _named(outcome: Outcome, face: SampledFace, index: int) -> Outcome:
    """The outcome; an error by the face's frame and track in place of its number in the batch."""
    if isinstance(outcome, MediaError | EngineError):
        reason = str(outcome).removeprefix(f"image {index}: ")
        return type(outcome)(f"frame {face.frame.index}, track {face.track}: {reason}")
    return outcome
