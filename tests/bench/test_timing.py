"""Statistics of the runs and the turns with a baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from protoleak.bench.results import Percentiles
from protoleak.bench.timing import BASELINE_RUNS, Sample, compare, measure, screening, summarise
from protoleak.errors import MediaError
from protoleak.screener import Screener


def sample(whole: float, encoder: float = 0.0, attributor: float = 0.0, faces: int = 1) -> Sample:
    return Sample(faces, whole, {"latent_encoder": encoder, "attributor": attributor})


def test_percentiles_of_a_hundred_runs_are_those_of_their_ranks() -> None:
    found = Percentiles.of([float(value) for value in np.random.default_rng(0).permutation(101)])
    assert (found.p50, found.p95, found.p99, found.mean, found.minimum) == (50, 95, 99, 50, 0)


def test_numbers_are_per_face_where_they_say_so() -> None:
    timing = summarise([sample(40, 20, 8, faces=4)] * 3)
    assert timing.end_to_end.p50 == 40
    assert timing.engines.p50 == 28
    assert timing.per_face == 10
    assert timing.outside_engines == 3
    assert timing.stages["latent_encoder"] == 5
    assert timing.faces_per_second == pytest.approx(100)


def test_a_line_that_is_one_cuda_graph_counts_as_the_engines() -> None:
    timing = summarise([Sample(2, 20, {"decode": 4, "gpu": 10, "decision": 1})] * 2)
    assert timing.engines.p50 == 10
    assert timing.outside_engines == 5
    assert timing.stages == {"decode": 2, "gpu": 5, "decision": 0.5}


def test_a_machine_that_slows_down_shows_as_drift() -> None:
    assert summarise([sample(10)] * 6 + [sample(15)] * 6).drift == pytest.approx(1.5)
    assert summarise([sample(10)]).drift == 1


def test_a_baseline_twice_as_slow_makes_a_ratio_of_two() -> None:
    found = compare(summarise([sample(10, 4, 1)] * 3), [sample(20, 10, 5)] * 3)
    assert (found.end_to_end_ratio, found.engines_ratio) == (2, 3)


def test_the_baseline_takes_turns_with_the_line_and_gets_the_same_images() -> None:
    calls: list[tuple[str, list[bytes]]] = []

    def workload(images: Sequence[bytes]) -> Sample:
        calls.append(("line", list(images)))
        return sample(1, 1)

    def baseline(images: Sequence[bytes]) -> Sample:
        calls.append(("baseline", list(images)))
        return sample(2, 2)

    timing, theirs = measure(workload, [b"a", b"b", b"c"], batch=2, runs=10, warm_up=0, baseline=baseline)
    assert timing.runs == 10
    assert len(theirs) == BASELINE_RUNS
    places = [index for index, (who, _) in enumerate(calls) if who == "baseline"]
    assert places[0] == 0
    assert places[-1] == len(calls) - 2  # from the first run to the last
    assert all(calls[place][1] == calls[place + 1][1] for place in places)
    assert [images for who, images in calls if who == "line"][:3] == [[b"a", b"b"], [b"c", b"a"], [b"b", b"c"]]


def test_warming_up_does_not_count() -> None:
    times = iter([1000.0, 1000.0, 1.0, 1.0, 1.0])
    timing, _ = measure(lambda _: sample(next(times), 0.5), [b"a"], batch=1, runs=3, warm_up=2)
    assert timing.end_to_end.p99 == 1


def test_an_image_that_cannot_be_read_is_an_error_and_no_fast_run(tiny_bundle: object) -> None:
    workload = screening(Screener(str(tiny_bundle), engine="onnxruntime", threads=1))
    with pytest.raises(MediaError, match="empty"):
        workload([b""])
