"""The time of a sample over the batch size, one curve for each engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launch.charts.lines import Series, colours
from launch.charts.picture import Panel, picture, sheet
from launch.sizes.chart import chart

Row = Mapping[str, Any]
WIDTH, HEIGHT = 620.0, 320.0


def series(model: str, rows: Sequence[Row]) -> list[Series]:
    """A line of (batch size, ms per sample) for each engine that ran `model`."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["model"] == model:
            lines.setdefault(row["engine"], []).append((row["batch"], 1e3 / row["rate"]))
    return [Series(engine, sorted(points)) for engine, points in lines.items()]


def curves(model: str, rows: Sequence[Row]) -> list[str]:
    """The curves as a table: a line for each batch size, a column for each engine."""
    lines = series(model, rows)
    sizes = sorted({size for line in lines for size, _ in line.points})
    heads = [f"{model}, ms per sample", *(line.name for line in lines)]
    body = [
        [f"batch {size:g}", *(f"{dict(line.points).get(size, float('nan')):.3f}" for line in lines)]
        for size in sizes
    ]
    return [
        "  ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True))
        for cells in (heads, *body)
    ]


def draw(rows: Sequence[Row], processor: str, cores: int) -> str:
    """The curves as the text of an SVG file: a chart for each model."""
    panels = []
    for model in dict.fromkeys(row["model"] for row in rows):
        lines = series(model, rows)
        keys = zip(lines, colours(lines), strict=True)
        panels.append(
            Panel(
                model,
                chart(lines, sheet(WIDTH), HEIGHT),
                "Time of a sample by the size of its batch.",
                [(f"line {colour}", line.name) for line, colour in keys],
            )
        )
    where = f"{processor}, {cores} core{'s' * (cores > 1)}"
    return picture("Time of a sample by batch size", where, panels)
