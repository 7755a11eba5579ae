"""A chart as SVG: an axis each way; bars, boxes, lines, dots and words between them.

Colours are classes of charts.css: `c0` to `c4`, `s0` to `s6` for series, `h0` to `h9` from little
to much (`heat`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from launch.charts.axes import Scale
from launch.charts.markup import Markup, tag

ROW = 19.0
"""Height of a line of text."""
RIGHT = 14.0
BOTTOM = 2 * ROW + 8
HEATS = 10

Point = tuple[float, float]
Ends = tuple[float, float]
Axis = Callable[[Ends], Scale]
"""Makes a scale between the two ends of an axis."""
_ids = count(1)


@dataclass(frozen=True)
class Sheet:
    """What a chart is drawn on: its width, and the room that a letter takes."""

    width: float
    letter: float


PAGE = Sheet(480.0, 10.2)
"""A column of a page; letters take the room that they need on narrow screens (style.css)."""


def heat(share: float) -> str:
    """The colour of a share (0..1; what lies beyond has the colour of that end)."""
    return f"h{min(max(int(share * HEATS), 0), HEATS - 1)}"


class Chart:
    """A chart under construction; a mark lies on those drawn before it.

    `unit` is what the vertical axis counts, `below` what the horizontal one does; `marks` are
    vertical lines (value, label, class). `left`: where the axis stands at least, so that charts
    below one another line up. `rules` names the axes ("x", "y") whose ticks are lines across.
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
        sheet: Sheet = PAGE,
        rules: str = "y",
    ) -> None:
        labels = [label for _, label in y((height, 0.0)).ticks()]
        needed = max(map(len, labels), default=1) * sheet.letter + 10
        self.left = max(min(max(needed, 34.0), sheet.width / 3), left)
        self.x = x((self.left, sheet.width - RIGHT))
        self._sheet = sheet
        self._rows = self._rows_of(marks)
        self._top = (ROW if unit else 0) + 6 + ROW * (max(self._rows, default=-1) + 1)
        self.y = y((self._top + height, self._top))
        self._base = self._top + height
        self._marks = marks
        self._unit, self._below, self._rules = unit, below, rules
        self._drawn: list[Markup] = []

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, axes and labels included."""
        return self._sheet.width, self._base + BOTTOM

    def bars(self, bars: Iterable[tuple[float, float, float, str]], colour: str = "c1") -> None:
        """Bars (from, to, height, what a pointer over it shows)."""
        base = self.y.ends[0]
        for start, end, value, tip in bars:
            left, right = self.x(start), self.x(end)
            gap = 0.6 if right - left > 4 else 0
            self._box(left, right - gap, self.y(value), base, tip, colour)

    def box(self, x: Ends, y: Ends, tip: str, colour: str = "c1") -> None:
        """What lies between two values each way; `tip` is what a pointer over it shows."""
        left, right = sorted(map(self.x, x))
        top, bottom = sorted(map(self.y, y))
        self._box(left, right, top, bottom, tip, colour)

    def line(self, points: Iterable[Point], colour: str = "c1", style: str = "") -> None:
        """A line through points; `style` is thin, dashed or, drawn first, edge or outline."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self._drawn.append(tag("polyline", points=path, class_=f"line {colour} {style}".strip()))

    def band(self, points: Sequence[Point], colour: str = "c1", above: bool = False) -> None:
        """The area below a line, or above it."""
        if not points:
            return
        end = self.y.ends[above]
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        first, last = self.x(points[0][0]), self.x(points[-1][0])
        path = f"{first:.1f},{end:.1f} {path} {last:.1f},{end:.1f}"
        self._drawn.append(tag("polygon", points=path, class_=f"band {colour}"))

    def dots(
        self,
        points: Iterable[tuple[float, float, bool, str]],
        colour: str = "c1",
        radius: float = 4.5,
    ) -> None:
        """Dots (x, y, whether filled, what a pointer over it shows)."""
        for x, y, filled, tip in points:
            self._drawn.append(
                tag(
                    "circle",
                    tag("title", tip),
                    cx=self.x(x),
                    cy=self.y(y),
                    r=radius,
                    class_=f"dot {colour}" + ("" if filled else " hollow"),
                )
            )

    def diamond(self, x: float, y: float, tip: str, colour: str = "c2") -> None:
        """A mark that stands out among dots."""
        at, up, r = self.x(x), self.y(y), 9
        path = f"{at - r:.1f},{up:.1f} {at:.1f},{up - r:.1f} {at + r:.1f},{up:.1f} "
        path += f"{at:.1f},{up + r:.1f}"
        self._drawn.append(
            tag("polygon", tag("title", tip), points=path, class_=f"dot whole {colour}")
        )

    def text(
        self,
        point: Point,
        text: str,
        style: str = "name",
        anchor: str = "middle",
        by: Point = (0.0, 0.0),
        turn: float = 0.0,
    ) -> None:
        """Words at a point, moved `by` units of the drawing and turned by degrees.

        `style` is a class: name, label (parted from what lies below), on (on a fill of `heat`).
        """
        x, y = self.x(point[0]), self.y(point[1])
        self._drawn.append(
            tag(
                "text",
                text,
                x=x + by[0],
                y=y + by[1],
                text_anchor=anchor,
                transform=f"rotate({turn:.1f} {x:.1f} {y:.1f})" if turn else None,
                class_=style,
            )
        )

    def level(self, value: float, colour: str = "c2") -> None:
        """A dashed line across."""
        left, right = self.x.ends
        self._drawn.append(
            _line(left, right, self.y(value), self.y(value), f"line dashed {colour}")
        )

    def upright(self, value: float, colour: str = "c3") -> None:
        """A line from top to bottom, without a label."""
        at = self.x(value)
        self._drawn.append(_line(at, at, self._top, self._base, f"line mark {colour}"))

    def svg(self, title: str, description: str, at: Point | None = None) -> Markup:
        """The drawing; `description` says in words what it shows.

        `at` is its place in a larger one.
        """
        number = next(_ids)
        title_id, described_id = f"t{number}", f"d{number}"
        width, height = self.size
        left, top = at or (None, None)
        return tag(
            "svg",
            tag("title", title, id=title_id),
            tag("desc", description, id=described_id),
            *self._axes(),
            *self._drawn,
            *self._marked(),
            x=left,
            y=top,
            width=width,
            height=height,
            viewBox=f"0 0 {width:.0f} {height:.0f}",
            role="img",
            aria_labelledby=f"{title_id} {described_id}",
            class_="chart",
        )

    def _box(
        self, left: float, right: float, top: float, bottom: float, tip: str, colour: str
    ) -> None:
        self._drawn.append(
            tag(
                "rect",
                tag("title", tip),
                x=left,
                y=top,
                width=max(right - left, 0.4),
                height=max(bottom - top, 0.0),
                class_=f"fill {colour}",
            )
        )

    def _axes(self) -> Iterable[Markup]:
        left, right = self.x.ends
        yield tag("text", self._unit, x=left - 4, y=14.0, class_="unit")
        room = int((left - 6) / self._sheet.letter)
        for value, label in self.y.ticks():
            at = self.y(value)
            if "y" in self._rules:
                yield _line(left, right, at, at, "rule")
            yield tag("text", shortened(label, room), x=left - 6, y=at + 4, text_anchor="end")
        yield _line(left, right, self._base, self._base, "axis")
        free = -100.0
        for value, label in self.x.ticks():
            at, half = self.x(value), len(label) * self._sheet.letter / 2
            if "x" in self._rules:
                yield _line(at, at, self._top, self._base, "rule")
            yield _line(at, at, self._base, self._base + 4, "axis")
            # The last label must not leave the chart, nor any touch the one before.
            middle = min(at, self._sheet.width - half)
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
            at, half = self.x(value), len(label) * self._sheet.letter / 2
            middle = min(max(at, half + 2), self._sheet.width - half - 2)
            y = ROW + 14 + row * ROW
            yield _line(at, at, y + 4, self._base, f"line mark {colour}")
            labels.append(
                tag("text", label, x=middle, y=y, text_anchor="middle", class_=f"label {colour}")
            )
        yield from labels

    def _rows_of(self, marks: Sequence[tuple[float, str, str]]) -> list[int]:
        """In which row above the chart each label stands, so that none lies on another."""
        rows: list[int] = []
        taken: list[list[tuple[float, float]]] = []
        for value, label, _ in marks:
            half = len(label) * self._sheet.letter / 2 + 3
            middle = min(max(self.x(value), half), self._sheet.width - half)
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


def spark(values: Sequence[float], tip: str) -> Markup:
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
        tag("title", tip),
        tag("polyline", points=path, class_="line c1"),
        tag("circle", cx=points[-1][0], cy=points[-1][1], r=3.0, class_="dot c1"),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        class_="spark",
    )


def shortened(label: str, letters: int) -> str:
    """A label in the room of so many letters: of a longer one the middle is left out."""
    if len(label) <= letters:
        return label
    end = max(letters * 2 // 3, 1)
    return f"{label[: max(letters - end - 1, 0)]}…{label[-end:]}"


def _line(x1: float, x2: float, y1: float, y2: float, classes: str) -> Markup:
    return tag("line", x1=x1, x2=x2, y1=y1, y2=y2, class_=classes)
