"""Settings outside their limits are refused by name, in images and in videos alike."""

from __future__ import annotations

import pytest

from protoleak.errors import ProtoleakError
from protoleak.faces.settings import FaceSettings
from protoleak.video.settings import StreamSettings

FACES = [("faces", "eyes"), ("face_score", 1.5), ("minimum_face", 0), ("margin", -0.1)]
STREAM = [
    ("every", -1.0),
    ("minimum_evidence", 0),
    ("detect_every", -0.1),
    ("detect_every", 2.0),
    ("max_seconds", 0.0),
    ("batch_size", 0),
]


@pytest.mark.parametrize(("name", "value"), FACES)
def test_of_faces(name: str, value: object) -> None:
    with pytest.raises(ProtoleakError, match=name):
        FaceSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), FACES + STREAM)
def test_of_a_stream(name: str, value: object) -> None:
    with pytest.raises(ProtoleakError, match=name):
        StreamSettings(**{name: value})  # type: ignore[arg-type]
