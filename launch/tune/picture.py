"""A search as pictures: throughput by layout and batch size, parallel coordinates, progress."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from base.files import write_text
from launch.charts.axes import Categories, Linear, number
from launch.charts.chart import Chart, heat
from launch.charts.picture import Panel, picture, sheet
from launch.tune.search import Trial
from launch.tune.space import Space

CELL, CELL_ROW, NAMES = 66.0, 30.0, 110.0
"""Width and height of a cell of the table, and the room left of it."""
WIDTH, HEIGHT = 900.0, 420.0
FILES = ("throughput.svg", "parallel.svg", "progress.svg")


def write_all(
    trials: Sequence[Trial], space: Space, title: str, machine: str, unit: str, directory: Path
) -> list[Path]:
    """Draw three pictures into `directory`, aside and then renamed; returns their paths."""
    panels = (
        throughput(trials, space, unit),
        parallel(trials, space, unit),
        progress(trials, unit),
    )
    paths = [directory / name for name in FILES]
    for path, panel in zip(paths, panels, strict=True):
        write_text(path, picture(title, machine, [panel]))
    return paths


def throughput(trials: Sequence[Trial], space: Space, unit: str) -> Panel:
    """The best figure of every layout and batch size; cells that were not tried stay empty."""
    best: dict[tuple[int, int], float] = {}
    for trial in trials:
        layout, batch, *_ = space.point(trial.choice)
        best[layout, batch] = max(best.get((layout, batch), 0.0), trial.figure)
    low, high = _range(best.values())
    layouts, sizes = [str(x) for x in space.layouts], [str(size) for size in space.batch_sizes]
    chart = Chart(
        "instances x cores of each",
        "batch size",
        partial(Categories, sizes),
        partial(Categories, layouts),
        height=CELL_ROW * len(layouts),
        left=NAMES,
        sheet=sheet(max(NAMES + CELL * len(sizes), 480.0)),
        rules="",
    )
    for (layout, batch), value in sorted(best.items(), key=lambda cell: cell[1]):
        colour = heat(_share(value, low, high))
        tip = f"{layouts[layout]}, batch size {sizes[batch]}: {number(value, 4)} {unit}"
        style = f"{colour} best" if value == high else colour
        chart.box((batch - 0.48, batch + 0.48), (layout - 0.46, layout + 0.46), tip, style)
        chart.text((batch, layout), number(value, 4), f"on {colour}", by=(0, 4))
    return Panel(
        "The best figure of each layout and batch size that was tried",
        chart,
        f"{len(best)} of {len(layouts) * len(sizes)} were tried.",
        [_scale(low, high, unit), (f"fill {heat(1)} best", "the best")],
    )


def parallel(trials: Sequence[Trial], space: Space, unit: str) -> Panel:
    """A line for every trial over the dimensions, coloured by its figure; pruned ones are thin."""
    axes = (
        ("instances x cores", [str(layout) for layout in space.layouts]),
        ("batch size", [str(size) for size in space.batch_sizes]),
        ("policy", list(space.policies)),
        ("in flight", [str(depth) for depth in space.depths]),
    )
    low, high = _range(trial.figure for trial in trials)
    chart = Chart(
        "",
        "",
        partial(Categories, [*(name for name, _ in axes), "figure"]),
        partial(Linear, -0.05, 1.05, count=0),
        height=HEIGHT,
        sheet=sheet(WIDTH),
    )
    # The best last, so that it lies on the others.
    for trial in sorted(trials, key=lambda t: t.figure):
        share = _share(trial.figure, low, high)
        point = zip(space.point(trial.choice), space.sizes, strict=True)
        heights = [_height(at, size) for at, size in point]
        line = [*enumerate([*heights, share])]
        if trial.value is None:
            chart.line(line, heat(share), "thin")
        else:
            # Light colours need one.
            chart.line(line, "c0", "outline")
            chart.line(line, heat(share))
    for at, (_, values) in enumerate(axes):
        chart.line([(at, 0), (at, 1)], "c0", "thin")
        for place, value in enumerate(values):
            chart.text((at, _height(place, len(values))), value, "label", "start", by=(5, -5))
    chart.line([(len(axes), 0), (len(axes), 1)], "c0", "thin")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = number(low + share * (high - low), 4)
        chart.text((len(axes), share), text, "label", "start", by=(5, -5))
    return Panel(
        f"{len(trials)} trials: the dimensions of each, and its figure",
        chart,
        "A line for each trial.",
        [_scale(low, high, unit), ("line thin c0", "pruned after the short test")],
    )


def progress(trials: Sequence[Trial], unit: str) -> Panel:
    """Every trial's figure and the best so far, over the minutes spent measuring."""
    minutes, spent, best, so_far = [], 0.0, 0.0, []
    for trial in trials:
        spent += trial.seconds / 60
        minutes.append(spent)
        if trial.value is not None and trial.value > best:
            so_far += [(spent, best)] if best else []
            best = trial.value
            so_far.append((spent, best))
    if best:
        so_far.append((spent, best))
    low, high = _range(trial.figure for trial in trials)
    margin = 0.06 * (high - low)
    chart = Chart(
        unit,
        "minutes of measuring",
        partial(Linear, 0.0, spent * 1.02),
        partial(Linear, max(low - margin, 0.0), high + margin),
        height=HEIGHT,
        sheet=sheet(WIDTH),
    )
    chart.line(so_far, "c2")
    chart.dots(
        (at, trial.figure, trial.value is not None, f"{trial.choice}: {number(trial.figure, 4)}")
        for at, trial in zip(minutes, trials, strict=True)
    )
    return Panel(
        "The figure of each trial, and the best so far",
        chart,
        f"The best of {len(trials)} trials reached {number(best, 4)} {unit}.",
        [
            ("dot c1", "measured longer"),
            ("dot c1 hollow", "pruned after the short test"),
            ("line c2", "best so far"),
        ],
    )


def _range(figures: Iterable[float]) -> tuple[float, float]:
    found = [*figures]
    return (min(found), max(found)) if found else (0.0, 0.0)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 1.0


def _height(at: int, size: int) -> float:
    """The place of the first value at the bottom, that of the last at the top."""
    return at / max(size - 1, 1)


def _scale(low: float, high: float, unit: str) -> tuple[str, str]:
    return "heat", f"{unit}, from {number(low, 4)} to {number(high, 4)}"
