"""What a cluster must have is looked at before anything waits for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from protoleak.errors import ProtoleakError
from protoleak.serving.corpus.cluster import LONGEST_FOLDER, Place, check_processors, cluster


@pytest.mark.parametrize(
    ("place", "workers", "resources", "message"),
    [
        (Place("auto"), 4, {"CPU": 4.0}, "need 5 processors, and the cluster auto has 4: give --workers 3"),
        (Place("auto"), 1, {"CPU": 1.0}, "a cluster of two processors or more is needed"),
        (Place("auto"), 1, {}, "the cluster auto has 0: a cluster of two"),
        (Place("auto", gpus=1), 2, {"CPU": 8.0, "GPU": 1.0}, "need 2 GPUs, and the cluster has 1"),
    ],
)
def test_too_few_processors_are_an_error(place: Place, workers: int, resources: dict[str, float], message: str) -> None:
    with pytest.raises(ProtoleakError, match=message):
        check_processors(place, workers, resources)


def test_enough_are_enough() -> None:
    check_processors(Place("auto", gpus=0.5), 2, {"CPU": 3.0, "GPU": 1.0})


def test_a_temporary_folder_with_too_long_a_name_is_said_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sockets' names have 107 characters at most, and Ray's own message asks whether the machine is busy."""
    place = tmp_path / ("a" * LONGEST_FOLDER)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with pytest.raises(ProtoleakError, match=r"too long a name.*TMPDIR=/tmp"), cluster(Place(), 1):
        pass
    assert not list(place.iterdir())
