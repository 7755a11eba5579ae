"""Charts as SVG: an axis each way, and bars, lines and marks between them.

Letters are larger on narrow screens (style.css), so that room is left for the larger ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count

from launch.charts.axes import Scale
from launch.charts.markup import Markup, tag

WIDTH = 480.0
LETTER = 10.2
"""Width of a letter at the size of narrow screens."""
ROW = 19.0
"""Height of a line of text there."""
RIGHT = 14.0
BOTTOM = 2 * ROW + 8

Point = tuple[float, float]
Ends = tuple[float, float]
Axis = Callable[[Ends], Scale]
"""Makes a scale between the two ends of an axis."""
_ids = count(1)


class Chart:
    """A chart under construction.

    `unit` is what the vertical axis counts, `below` what the horizontal one does; `marks` are
    vertical lines (value, label, class). `left`: where the axis stands at least, so that charts
    below one another line up.
    """

    def __init__(
        self,
        unit: str,
        below: str,
        x: Axis,
        y: Axis,
        marks: Sequence[tuple[float, str, str]] = (),
        height: float = 170.0,
        left: float = 0.0,
    ) -> None:
        labels = [label for _, label in y((height, 0.0)).ticks()]
        needed = max(map(len, labels), default=1) * LETTER + 10
        self.left = max(min(max(needed, 34.0), 120.0), left)
        self.x = x((self.left, WIDTH - RIGHT))
        self._rows = _rows([(self.x(value), label) for value, label, _ in marks])
        self._top = ROW + 6 + ROW * (max(self._rows, default=-1) + 1)
        self.y = y((self._top + height, self._top))
        self._base = self._top + height
        self._marks = marks
        self._unit, self._below = unit, below
        self._drawn: list[Markup] = []

    def bars(self, bars: Iterable[tuple[float, float, float, str]], colour: str = "c1") -> None:
        """Bars (from, to, height, what a pointer over it shows)."""
        zero = self.y.ends[0]
        for start, end, value, told in bars:
            left, right, top = self.x(start), self.x(end), self.y(value)
            self._drawn.append(
                tag(
                    "rect",
                    tag("title", told),
                    x=left,
                    y=top,
                    width=max(right - left - (0.6 if right - left > 4 else 0), 0.4),
                    height=max(zero - top, 0.0),
                    class_=f"fill {colour}",
                )
            )

    def line(self, points: Iterable[Point], colour: str = "c1", style: str = "") -> None:
        """A line through points."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self._drawn.append(tag("polyline", points=path, class_=f"line {colour} {style}".strip()))

    def band(self, points: Sequence[Point], colour: str = "c1") -> None:
        """The area below a line."""
        if not points:
            return
        zero = self.y.ends[0]
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        first, last = self.x(points[0][0]), self.x(points[-1][0])
        path = f"{first:.1f},{zero:.1f} {path} {last:.1f},{zero:.1f}"
        self._drawn.append(tag("polygon", points=path, class_=f"band {colour}"))

    def dots(self, points: Iterable[tuple[float, float, bool, str]], colour: str = "c1") -> None:
        """Dots (x, y, whether filled, what a pointer over it shows)."""
        for x, y, filled, told in points:
            self._drawn.append(
                tag(
                    "circle",
                    tag("title", told),
                    cx=self.x(x),
                    cy=self.y(y),
                    r=4.5,
                    class_=f"dot {colour}" + ("" if filled else " hollow"),
                )
            )

    def level(self, value: float, colour: str = "c2") -> None:
        """A dashed line across."""
        self._drawn.append(
            tag(
                "line",
                x1=self.x.ends[0],
                x2=self.x.ends[1],
                y1=self.y(value),
                y2=self.y(value),
                class_=f"line dashed {colour}",
            )
        )

    def upright(self, value: float, colour: str = "c3") -> None:
        """A line from top to bottom, without a label."""
        at = self.x(value)
        self._drawn.append(
            tag("line", x1=at, x2=at, y1=self._top, y2=self._base, class_=f"line mark {colour}")
        )

    def svg(self, title: str, description: str) -> Markup:
        """The picture; `description` says in words what it shows."""
        number = next(_ids)
        title_id, described_id = f"t{number}", f"d{number}"
        height = self._base + BOTTOM
        return tag(
            "svg",
            tag("title", title, id=title_id),
            tag("desc", description, id=described_id),
            *self._axes(),
            *self._drawn,
            *self._marked(),
            viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
            role="img",
            aria_labelledby=f"{title_id} {described_id}",
            class_="chart",
        )

    def _axes(self) -> Iterable[Markup]:
        left, right = self.x.ends
        yield tag("text", self._unit, x=left - 4, y=14.0, class_="unit")
        for value, label in self.y.ticks():
            at = self.y(value)
            yield tag("line", x1=left, x2=right, y1=at, y2=at, class_="grid")
            yield tag("text", label, x=left - 6, y=at + 4, text_anchor="end")
        yield tag("line", x1=left, x2=right, y1=self._base, y2=self._base, class_="axis")
        free = -100.0
        for value, label in self.x.ticks():
            at, half = self.x(value), len(label) * LETTER / 2
            yield tag("line", x1=at, x2=at, y1=self._base, y2=self._base + 4, class_="axis")
            # The last label must not leave the picture, nor any touch the one before.
            middle = min(at, WIDTH - half)
            if middle - half > free:
                yield tag("text", label, x=middle, y=self._base + ROW, text_anchor="middle")
                free = middle + half + 4
        yield tag(
            "text",
            self._below,
            x=(left + right) / 2,
            y=self._base + 2 * ROW,
            text_anchor="middle",
            class_="unit",
        )

    def _marked(self) -> Iterable[Markup]:
        labels = []
        for (value, label, colour), row in zip(self._marks, self._rows, strict=True):
            at, half = self.x(value), len(label) * LETTER / 2
            middle = min(max(at, half + 2), WIDTH - half - 2)
            y = ROW + 14 + row * ROW
            yield tag("line", x1=at, x2=at, y1=y + 4, y2=self._base, class_=f"line mark {colour}")
            labels.append(
                tag("text", label, x=middle, y=y, text_anchor="middle", class_=f"label {colour}")
            )
        yield from labels


def figure(
    heading: str,
    *charts: Markup,
    legend: Sequence[tuple[str, str]] = (),
    note: str | Markup = "",
    shape: str = "",
) -> Markup:
    """Charts under a heading; `legend` names lines (class, name), `shape` is a class of its box."""
    keys = [
        tag("span", tag("i", class_=f"key {classes}", aria_hidden="true"), name)
        for classes, name in legend
    ]
    return tag(
        "figure",
        tag("h3", heading),
        tag("p", *keys, class_="legend") if keys else None,
        *charts,
        tag("figcaption", note) if note else None,
        class_=f"card {shape}".strip(),
    )


def spark(values: Sequence[float], told: str) -> Markup:
    """A line of a word's size; the last value has a dot."""
    width, height, edge = 110.0, 26.0, 4.0
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = (width - 2 * edge) / max(len(values) - 1, 1)
    points = [
        (edge + at * step, height - edge - (value - low) / span * (height - 2 * edge))
        for at, value in enumerate(values)
    ]
    if len(points) == 1 or high == low:
        points = [(x, height / 2) for x, _ in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag(
        "svg",
        tag("title", told),
        tag("polyline", points=path, class_="line c1"),
        tag("circle", cx=points[-1][0], cy=points[-1][1], r=3.0, class_="dot c1"),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        class_="spark",
    )


def _rows(marks: Sequence[tuple[float, str]]) -> list[int]:
    """In which row above the chart each label stands, so that none lies on another."""
    rows: list[int] = []
    taken: list[list[tuple[float, float]]] = []
    for at, label in marks:
        half = len(label) * LETTER / 2 + 3
        middle = min(max(at, half), WIDTH - half)
        left, right = middle - half, middle + half
        row = next(
            (
                row
                for row, spans in enumerate(taken)
                if all(right <= start or left >= end for start, end in spans)
            ),
            len(taken),
        )
        if row == len(taken):
            taken.append([])
        taken[row].append((left, right))
        rows.append(row)
    return rows
