"""Pictures: charts beside and below one another, as one SVG file that needs nothing else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.charts.chart import HEATS, ROW, Chart, Sheet
from launch.charts.markup import Markup, tag

LETTER = 7.0
"""Room of a letter at the size of charts.css."""
EDGE, GAP = 24.0, 30.0
TITLE, HEADING = 20.0, 14.0
"""Sizes of letters."""
_FOLDER = Path(__file__).parent

Key = tuple[str, str]
"""What a mark looks like, as classes ("line c2", "dot c1", "fill h3", "heat" for all of them), and
what it stands for."""


@dataclass(frozen=True)
class Panel:
    """A chart with its heading and legend; `description` says in words what it shows."""

    heading: str
    chart: Chart
    description: str
    legend: Sequence[Key] = ()


def sheet(width: float) -> Sheet:
    """What a chart of a picture is drawn on."""
    return Sheet(width, LETTER)


def stylesheet() -> str:
    """The rules that charts need in a page, light and dark."""
    names = ("colours.css", "charts.css")
    return "".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


def picture(title: str, subtitle: str, *columns: Sequence[Panel]) -> str:
    """An SVG file: columns of panels beside one another, below a title."""
    widths = [max(panel.chart.size[0] for panel in column) for column in columns]
    width = sum(widths) + GAP * (len(columns) - 1) + 2 * EDGE
    drawn: list[Markup] = []
    top = EDGE
    for text, size, style in ((title, TITLE, "title"), (subtitle, 12.0, "subtitle")):
        letters = int((width - 2 * EDGE) / (LETTER * size / 12))
        for line in textwrap.wrap(text, letters):
            top += size * 1.3
            drawn.append(tag("text", line, x=EDGE, y=top - size * 0.3, class_=style))
    left, bottom = EDGE, top
    for column, each in zip(columns, widths, strict=True):
        y = top + GAP / 2
        for panel in column:
            y += HEADING * 1.5
            drawn.append(tag("text", panel.heading, x=left, y=y - 6, class_="heading"))
            keys, used = _legend(panel.legend, left, y, each)
            drawn += keys
            y += used
            drawn.append(panel.chart.svg(panel.heading, panel.description, (left, y)))
            y += panel.chart.size[1] + GAP / 2
        left, bottom = left + each + GAP, max(bottom, y)
    whole = tag(
        "svg",
        tag("title", title),
        tag("style", Markup(_fixed_style())),
        tag("rect", width=width, height=bottom, class_="ground"),
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=bottom,
        viewBox=f"0 0 {width:.0f} {bottom:.0f}",
        class_="picture",
    )
    return f'<?xml version="1.0" encoding="utf-8"?>\n{whole}\n'


def _legend(
    legend: Sequence[Key], left: float, top: float, width: float
) -> tuple[list[Markup], float]:
    """The keys in rows as wide as the column, and their height."""
    drawn: list[Markup] = []
    x, y = left, top
    for classes, name in legend:
        swatch = 10.0 * HEATS if classes == "heat" else 20.0
        needed = swatch + 6 + len(name) * LETTER
        if x > left and x + needed > left + width:
            x, y = left, y + ROW
        drawn += _key(classes.split(), x, y + ROW / 2, swatch)
        drawn.append(tag("text", name, x=x + swatch + 6, y=y + ROW / 2 + 4))
        x += needed + 10
    return drawn, y + ROW + 4 - top if legend else 0.0


def _key(classes: list[str], x: float, y: float, width: float) -> Iterable[Markup]:
    shown = " ".join(classes)
    if shown == "heat":
        for at in range(HEATS):
            step = width / HEATS
            yield tag("rect", x=x + at * step, y=y - 6, width=step, height=12, class_=f"fill h{at}")
    elif "whole" in classes:
        middle, r = x + width / 2, 7.0
        path = f"{middle - r},{y} {middle},{y - r} {middle + r},{y} {middle},{y + r}"
        yield tag("polygon", points=path, class_=shown)
    elif "dot" in classes:
        yield tag("circle", cx=x + width / 2, cy=y, r=4.5, class_=shown)
    elif "line" in classes:
        yield tag("line", x1=x, x2=x + width, y1=y, y2=y, class_=shown)
    else:
        yield tag("rect", x=x, y=y - 6, width=width, height=12, class_=shown)


def _fixed_style() -> str:
    """The rules with the light colours put in: viewers that are no browsers know no variables."""
    light = (_FOLDER / "colours.css").read_text(encoding="utf-8").split("@media")[0]
    colours = dict(re.findall(r"--(\w+): (#\w+)", light))
    rules = (_FOLDER / "charts.css").read_text(encoding="utf-8")
    return re.sub(r"var\(--(\w+)\)", lambda found: colours[found[1]], rules)
