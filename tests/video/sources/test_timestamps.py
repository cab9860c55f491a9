"""Timestamps are the stream's own where it has usable ones, and strictly increasing always."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protoleak.video.sources.timestamps import TimestampMapper

PERIOD, TICK = Fraction(1, 25), Fraction(1, 90000)
stamps = st.lists(st.none() | st.fractions(min_value=-1000, max_value=1000), min_size=1, max_size=30)


def placed(values: list[Fraction | None]) -> tuple[list[float], list[str]]:
    mapper = TimestampMapper()
    return [mapper.place(value, 0.0, PERIOD, TICK) for value in values], mapper.notes


@given(stamps)
@example([None, Fraction(0), Fraction(1, 232443851735251407)])  # one float64, and not one fraction
def test_time_starts_at_zero_and_increases_whatever_the_stream_says(values: list[Fraction | None]) -> None:
    times, _ = placed(values)
    assert times[0] == 0
    assert all(later > earlier for earlier, later in pairwise(times))


@given(
    st.lists(st.fractions(min_value=0, max_value=1000, max_denominator=1_000_000), min_size=1, max_size=30, unique=True)
)
def test_increasing_timestamps_are_kept_exactly(values: list[Fraction]) -> None:
    values.sort()
    times, notes = placed(list(values))
    assert times == [float(value - values[0]) for value in values]
    assert notes == []


def test_a_duplicate_moves_by_one_tick_and_those_after_it_stay() -> None:
    times, notes = placed([Fraction(n, 25) for n in (0, 1, 1, 2)])
    assert times == pytest.approx([0, 0.04, 0.04 + 1 / 90000, 0.08])
    assert notes == ["two frames with the same timestamp"]


def test_a_timestamp_that_is_missing_in_between_lies_a_period_after_the_last() -> None:
    times, notes = placed([Fraction(0), None, Fraction(3, 25)])
    assert times == pytest.approx([0, 0.04, 0.12])
    assert notes == ["frames without a timestamp: 25 frames per second are assumed"]


def test_after_a_new_connection_time_goes_on_by_what_passed() -> None:
    mapper = TimestampMapper(live=True)
    mapper.place(Fraction(100), 50.0, PERIOD, TICK)
    mapper.place(Fraction(101), 51.0, PERIOD, TICK)
    mapper.restart()
    assert mapper.place(Fraction(7), 61.0, PERIOD, TICK) == pytest.approx(11)
    assert mapper.place(Fraction(8), 61.9, PERIOD, TICK) == pytest.approx(12)


def test_errors_of_many_connections_do_not_add_up() -> None:
    """Each connection begins with half a second of images that come at once."""
    mapper = TimestampMapper(live=True)
    for connection in range(20):
        mapper.restart()
        for frame in range(25):
            captured = 10.0 * connection + max(0.0, frame / 25 - 0.5)
            last = mapper.place(Fraction(frame, 25), captured, PERIOD, TICK)
        assert last == pytest.approx(captured, abs=1.1)
