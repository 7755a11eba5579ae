"""Line charts: one or several series of points over the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from launch.charts.axes import Linear, number
from launch.charts.chart import PAGE, Axis, Chart, Point, Sheet, figure
from launch.charts.markup import Markup

COLOURS = 7
"""Colours of series; they come again after so many."""


@dataclass(frozen=True)
class Series:
    """Points (x, y) from left to right, under a name; without a `colour` it gets its turn's."""

    name: str
    points: Sequence[Point]
    colour: str = ""


def series_colour(at: int) -> str:
    """The colour of the series at a place among others."""
    return f"s{at % COLOURS}"


def line_chart(
    series: Sequence[Series],
    unit: str,
    below: str,
    x: Axis | None = None,
    y: Axis | None = None,
    height: float = 220.0,
    dotted: bool = True,
    sheet: Sheet = PAGE,
) -> Chart:
    """A line for each series; with `dotted`, a dot for each point, which shows its values.

    `unit` is what the vertical axis counts, `below` what the horizontal one does. Without `y` the
    vertical axis begins at 0; without `x` the horizontal one has no more room than it needs.
    ValueError where no series has a point.
    """
    points = [point for one in series for point in one.points]
    if not points:
        raise ValueError("a line chart needs a point")
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    x = x or partial(Linear, first, last)
    y = y or partial(Linear, 0.0, 1.08 * max(y for _, y in points), count=4)
    chart = Chart(unit, below, x, y, height=height, sheet=sheet)
    for one, colour in zip(series, colours(series), strict=True):
        chart.line(one.points, colour)
        if dotted:
            name = f"{one.name}, " if one.name else ""
            chart.dots(
                (
                    (at, value, True, f"{name}{number(at)} {below}: {number(value)} {unit}")
                    for at, value in one.points
                ),
                colour,
            )
    return chart


def line_figure(
    heading: str, chart: Chart, series: Sequence[Series], description: str = "", note: str = ""
) -> Markup:
    """The chart on a card of a page, with the names of its series where they are several."""
    keys = [(colour, one.name) for one, colour in zip(series, colours(series), strict=True)]
    return figure(
        heading,
        chart.svg(heading, description or f"Lines: {', '.join(one.name for one in series)}."),
        legend=keys if len(series) > 1 else (),
        note=note,
    )


def colours(series: Sequence[Series]) -> list[str]:
    """The colour of each series; one alone has that of all charts with one line."""
    if len(series) == 1:
        return [series[0].colour or "c1"]
    return [one.colour or series_colour(at) for at, one in enumerate(series)]
