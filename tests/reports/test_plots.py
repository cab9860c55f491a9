"""Plots are well-formed, in proportion, and show names without obeying them."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protoleak.reports.bar_plot import stacked_bars
from protoleak.reports.line_plot import LEGEND, Axis, Band, Rule, Series, line_plot
from protoleak.reports.svg import WIDTH, round_up, steps_between

FINITE = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


def test_names_with_markup_in_them_are_shown_and_not_obeyed() -> None:
    name = '<b>&"'
    bars = stacked_bars([(name, {"decode": 1.0}, name)], ("decode",), "ms", name)
    plot = line_plot(
        [Series(name, [(1, 2)], shape="circle")],
        *(Axis(name), Axis(name), name),
        rules=[Rule(1, name)],
        bands=[Band(0, 1, name)],
    )
    for drawn in (bars, plot):
        assert "<b>" not in drawn
        root = ElementTree.fromstring(drawn)
        assert root[0].attrib["aria-label"] == name
        assert name in "".join(root.itertext())


def test_the_longest_bar_fits_and_the_others_are_in_proportion() -> None:
    rows = [("one", {"decode": 30.0, "noising": 10.0}, ""), ("two", {"decode": 10.0}, "")]
    plot = stacked_bars(rows, ("decode", "noising"), "ms", "")
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="20"', plot)]
    assert widths[0] == pytest.approx(3 * widths[1], rel=1e-3)
    assert widths[2] == pytest.approx(widths[1], rel=1e-3)


def test_the_legend_of_many_parts_stays_in_the_image_and_leaves_out_what_no_bar_has() -> None:
    parts = [f"a_part_of_a_longer_name_{index}" for index in range(12)]
    plot = stacked_bars([("one", dict.fromkeys(parts, 1.0), "")], [*parts, "absent"], "ms", "")
    places = [float(x) for x in re.findall(r'<rect x="(\d+)" y="\d+" width="11"', plot)]
    assert len(places) == 12
    assert max(places) < WIDTH
    assert "absent" not in plot


@settings(deadline=None)
@given(
    st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=30),
    st.sampled_from(["none", "circle", "square", "triangle", "diamond"]),
)
def test_whatever_the_points_the_plot_is_well_formed_and_they_lie_in_it(
    points: list[tuple[float, float]], shape: str
) -> None:
    plot = line_plot([Series("one", points, shape=shape)], Axis("x"), Axis("y"), "a plot")  # type: ignore[arg-type]
    ElementTree.fromstring(plot)
    drawn = [place for path in re.findall(r'<polyline points="([^"]+)"', plot) for place in path.split()]
    assert len(drawn) == (len(points) if len(points) > 1 else 0)
    for place in drawn:
        x, y = map(float, place.split(","))
        assert 0 <= x <= WIDTH - LEGEND
        assert 0 <= y <= 320


@pytest.mark.parametrize("scale", ["log2", "log10"])
def test_on_a_logarithmic_axis_equal_ratios_are_equally_far_apart(scale: str) -> None:
    axis = Axis("x", scale=scale)  # type: ignore[arg-type]
    start, end = axis.around([0.01, 0.1, 1.0])
    assert [axis.share(value, start, end) for value in (0.01, 0.1, 1.0)] == pytest.approx([0.0, 0.5, 1.0])
    assert axis.numbers(0.01, 1.0)[-1] == 1.0


def test_one_value_alone_can_be_drawn_on_every_scale() -> None:
    for scale in ("linear", "log2", "log10"):
        axis = Axis("", scale=scale)  # type: ignore[arg-type]
        ElementTree.fromstring(line_plot([Series("one", [(4, 2.0)])], axis, axis, ""))


def test_without_points_there_is_no_plot() -> None:
    assert line_plot([Series("one", [])], Axis(""), Axis(""), "") == ""


@settings(deadline=None)
@given(FINITE, st.floats(min_value=1e-6, max_value=1e9))
def test_numbers_on_an_axis_are_few_and_within_it(start: float, length: float) -> None:
    assume(length > 1e-6 * abs(start))  # below, floats themselves are hardly fine enough to tell numbers apart
    numbers = steps_between(start, start + length)
    assert len(numbers) <= 7
    slack = 1e-6 * length + 1e-12 * abs(start)
    assert all(start - slack <= number <= start + length + slack for number in numbers)


@settings(deadline=None)
@given(st.floats(min_value=1e-12, max_value=1e12))
def test_the_round_number_above_a_value_is_less_than_double_it(value: float) -> None:
    above = round_up(value)
    assert value <= above < 2 * value * (1 + 1e-9) + 1e-300 or math.isclose(above, 2 * value)
