"""What can be set of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from protoleak.choices import DETECT_EVERY
from protoleak.faces.settings import FaceSettings, check_limit


@dataclass(frozen=True)
class StreamSettings(FaceSettings):
    """How a source is screened: how its faces are found, as in `FaceSettings`, and how they are followed over time.

    Attributes:
        detect_every: seconds for which a face may be in view before a frame of it goes through the detector; between
            such frames it is followed. 0: every frame goes through the detector.
        every: seconds between two attributions of one track.
        minimum_evidence: attributed faces before a track gets a verdict.
        max_seconds: stop after so many seconds of the source; None for its end.
        batch_size: faces that go through the engines together, at most.

    Raises:
        SettingError: a value is outside its limits.
    """

    detect_every: float = DETECT_EVERY
    every: float = 1.0
    minimum_evidence: int = 3
    max_seconds: float | None = None
    batch_size: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limit("detect_every", self.detect_every, 0 <= self.detect_every <= 1, "in [0, 1] seconds")
        check_limit("every", self.every, self.every >= 0, "0 or more seconds")
        check_limit("minimum_evidence", self.minimum_evidence, self.minimum_evidence >= 1, "at least 1")
        check_limit("max_seconds", self.max_seconds, self.max_seconds is None or self.max_seconds > 0, "more than 0")
        check_limit("batch_size", self.batch_size, self.batch_size >= 1, "at least 1")
