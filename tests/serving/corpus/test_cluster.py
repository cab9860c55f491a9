"""What a cluster must have is looked at before anything waits for it."""

from __future__ import annotations

import pytest

from protoleak.errors import ProtoleakError
from protoleak.serving.corpus.cluster import Place, check_processors


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
