"""A search as pictures: throughput by layout and batch size, parallel coordinates, progress."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.files import written_aside
from launch.tune.search import Trial
from launch.tune.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "viridis"
DARK, GREY, MARK = "#222222", "#999999", "#d55e00"
NAMES = ("throughput.png", "parallel.png", "progress.png")


def write_all(
    trials: Sequence[Trial], space: Space, title: str, unit: str, directory: Path
) -> list[Path]:
    """Draw three pictures into `directory`, aside and then renamed; returns their paths."""
    figures = (
        throughput(trials, space, title, unit),
        parallel(trials, space, title, unit),
        progress(trials, title, unit),
    )
    paths = []
    for figure, name in zip(figures, NAMES, strict=True):
        path = directory / name
        with written_aside(path) as aside:
            figure.savefig(aside, format="png", dpi=110)
        paths.append(path)
    return paths


def throughput(trials: Sequence[Trial], space: Space, title: str, unit: str) -> Figure:
    """The best figure of every layout and batch size; cells that were not tried stay empty."""
    import numpy as np
    from matplotlib.figure import Figure

    rows, columns = len(space.layouts), len(space.batch_sizes)
    best = np.full((rows, columns), np.nan)
    for trial in trials:
        layout, batch, *_ = space.point(trial.choice)
        best[layout, batch] = np.nanmax([best[layout, batch], trial.figure])
    figure = Figure(figsize=(2.5 + 0.9 * columns, 2 + 0.45 * rows), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(best, aspect="auto", cmap=COLOURS)
    middle = (np.nanmin(best) + np.nanmax(best)) / 2 if len(trials) else 0
    for row in range(rows):
        for column in range(columns):
            value = best[row, column]
            if not np.isnan(value):
                colour = "white" if value < middle else DARK
                axes.text(column, row, f"{value:.4g}", ha="center", va="center", color=colour)
    axes.set_xticks(range(columns), [str(size) for size in space.batch_sizes])
    axes.set_yticks(range(rows), [str(layout) for layout in space.layouts])
    axes.set_xlabel("batch size")
    axes.set_ylabel("instances x cores of each")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label=unit)
    return figure


def parallel(trials: Sequence[Trial], space: Space, title: str, unit: str) -> Figure:
    """A line for every trial over the dimensions, coloured by its figure; pruned ones are thin."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    labels = (
        ("instances x cores", [str(layout) for layout in space.layouts]),
        ("batch size", [str(size) for size in space.batch_sizes]),
        ("policy", list(space.policies)),
        ("in flight", [str(depth) for depth in space.depths]),
    )
    figures = [trial.figure for trial in trials] or [0.0, 1.0]
    scale = Normalize(min(figures), max(figures))
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.add_subplot()
    for trial in sorted(trials, key=lambda t: t.figure):
        heights = [
            at / max(size - 1, 1)
            for at, size in zip(space.point(trial.choice), space.sizes, strict=True)
        ]
        pruned = trial.value is None
        axes.plot(
            [*range(4), 4],
            [*heights, float(scale(trial.figure))],
            color=colormaps[COLOURS](scale(trial.figure)),
            linewidth=0.8 if pruned else 2,
            alpha=0.5 if pruned else 0.9,
        )
    for at, (_, values) in enumerate(labels):
        axes.axvline(at, color=GREY, linewidth=0.8)
        for number, value in enumerate(values):
            height = number / max(len(values) - 1, 1)
            axes.text(at + 0.02, height, value, fontsize=8, color=DARK, va="bottom")
    axes.axvline(4, color=GREY, linewidth=0.8)
    axes.set_xticks(range(5), [*(name for name, _ in labels), unit])
    axes.set_yticks([])
    axes.set_title(f"{title}: {len(trials)} trials")
    figure.colorbar(ScalarMappable(scale, COLOURS), ax=axes, label=unit)
    return figure


def progress(trials: Sequence[Trial], title: str, unit: str) -> Figure:
    """Every trial's figure and the best so far, over the minutes spent measuring."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    minutes, spent, best, so_far = [], 0.0, 0.0, []
    for trial in trials:
        spent += trial.seconds / 60
        minutes.append(spent)
        best = max(best, trial.value or 0.0)
        so_far.append(best)
    for pruned, colour, label in ((False, DARK, "measured longer"), (True, GREY, "pruned")):
        mine = [i for i, trial in enumerate(trials) if (trial.value is None) == pruned]
        axes.plot(
            [minutes[i] for i in mine],
            [trials[i].figure for i in mine],
            linestyle="none",
            marker="x" if pruned else "o",
            color=colour,
            label=label,
        )
    axes.step(minutes, so_far, where="post", color=MARK, linewidth=2, label="best so far")
    axes.set_xlabel("minutes of measuring")
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.legend()
    return figure
