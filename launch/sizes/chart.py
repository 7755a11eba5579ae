"""The time of a sample over the size of its batch, as a line chart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from launch.charts.axes import Linear, Logarithmic
from launch.charts.chart import PAGE, Axis, Chart, Sheet
from launch.charts.lines import Series, line_chart
from launch.sizes.figures import Size, measured

UNIT, BELOW = "ms per sample", "samples in a batch"
CLIFF = 20.0
"""Where the longest time is so many times the shortest, equal steps would hide all but it."""
TICKS = 16


def series(sizes: Sequence[Size]) -> list[Series]:
    """A line of the times as batches are run; below it another one of those as they are.

    The second is left out where it is the same or not known.
    """
    shown = measured(sizes)
    lines = [Series("as run", [(size.samples, size.sample_ms) for size in shown], "c1")]
    own = [
        (float(size.samples), size.own_sample_ms)
        for size in shown
        if size.own_sample_ms is not None
    ]
    if own and not all(size.as_it_is for size in shown):
        lines.insert(0, Series("each size as it is", own, "c2"))
    return lines


def chart(lines: Sequence[Series], sheet: Sheet = PAGE, height: float = 220.0) -> Chart:
    """The lines over an axis of whole samples."""
    most = max(x for line in lines for x, _ in line.points)
    times = [y for line in lines for _, y in line.points]
    y: Axis = partial(Linear, 0.0, 1.08 * max(times), count=6)
    if max(times) > CLIFF * min(times):
        y = partial(Logarithmic, min(times) / 1.5, max(times) * 1.5)
    x = partial(Linear, 1.0, most, count=min(int(most), TICKS), whole=True)
    return line_chart(lines, UNIT, BELOW, x, y, height, sheet=sheet)
