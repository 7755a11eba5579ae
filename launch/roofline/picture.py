"""A roofline as a picture: work against the roof, and time in execution order."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from base.files import written_aside
from launch.roofline.figures import Roofline
from launch.roofline.table import slowest, widest_gaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

CURE = "pip install 'loadrun[report]'"
NAMED = 5
LARGEST_POINT = 800.0
COLOURS = "viridis"
DARK, GREY, NO_WORK, MARK = "#222222", "#777777", "#cccccc", "#d55e00"


def available() -> bool:
    """Whether matplotlib is installed; it is not imported just to ask."""
    return find_spec("matplotlib") is not None


def write(roofline: Roofline, path: Path, title: str, machine: str) -> None:
    """Draw `roofline` into `path`, whose suffix decides the format: aside, then renamed.

    Left: rate over intensity, both logarithmic, an area for each layer's part of the time, below
    the roof that peak and memory make; under it the whole batch against its limits. Right: a bar
    for each layer's time with a mark where the roof would let it end. Colours are shares of the
    peak (viridis and vermilion: fit for colour-blind readers).
    """
    figure = draw(roofline, title, machine)
    with written_aside(path) as aside:
        figure.savefig(aside, format=path.suffix.removeprefix("."), dpi=110)


def draw(roofline: Roofline, title: str, machine: str) -> Figure:
    """The figure; no window and no global state of matplotlib is involved."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    height = max(8.5, 2.2 + 0.165 * len(roofline.layers))
    figure = Figure(figsize=(16, height), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.1, 1), height_ratios=(height - 2.6, 1.6))
    _draw_roof(figure.add_subplot(grid[0, 0]), roofline)
    _draw_gap(figure.add_subplot(grid[1, 0]), roofline)
    times = figure.add_subplot(grid[:, 1])
    _draw_times(times, roofline)
    figure.colorbar(
        ScalarMappable(_normalise(), COLOURS),
        ax=times,
        label="share of the int8 peak in %",
        aspect=45,
        pad=0.02,
    )
    figure.suptitle(
        f"{title}: {roofline.samples_per_s:.1f} samples/s, {100 * roofline.share_of_peak:.0f}% of"
        f" the int8 peak\n{machine}",
        fontsize=13,
    )
    return figure


def _draw_roof(axes: Axes, roofline: Roofline) -> None:
    layers = slowest(roofline, len(roofline.layers))
    longest = layers[0].seconds
    layers = [layer for layer in layers if layer.macs]
    peak, bandwidth = roofline.peak / 1e9, roofline.bandwidth / 1e9
    intensities = [layer.intensity for layer in layers]
    low, high = min(intensities) / 2, max(*intensities, peak / bandwidth) * 2.5
    x = np.geomspace(low, high, 400)
    roof = np.minimum(peak, bandwidth * x)
    axes.plot(x, roof, color=DARK, linewidth=2)
    axes.fill_between(x, roof, peak * 2, color="#eeeeee", linewidth=0)
    axes.scatter(
        intensities,
        [layer.rate / 1e9 for layer in layers],
        s=[LARGEST_POINT * layer.seconds / longest for layer in layers],
        c=[100 * layer.rate / roofline.peak for layer in layers],
        norm=_normalise(),
        cmap=COLOURS,
        alpha=0.8,
        edgecolors=DARK,
        linewidths=0.6,
        zorder=3,
    )
    whole = roofline.macs / roofline.whole_s / 1e9
    axes.plot(
        *(roofline.macs / sum(layer.bytes for layer in roofline.layers), whole),
        marker="*",
        markersize=17,
        linestyle="none",
        color=MARK,
        markeredgecolor="white",
        zorder=5,
        label=f"whole batch, {whole:.1f} GMAC/s",
    )
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_ylim(min(layer.rate for layer in layers) / 1e9 / 2, peak * 2)
    axes.set_xlabel("intensity in MAC per byte of activations and weights")
    axes.set_ylabel("rate in GMAC/s")
    axes.set_title("Layers below the roof (area: share of the time)", fontsize=11)
    _plain_ticks(axes)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.annotate(
        f"int8 peak {peak:.1f} GMAC/s",
        *((high, peak), (-8, 6)),
        textcoords="offset points",
        ha="right",
        fontweight="bold",
    )
    _label_slope(axes, f"memory {bandwidth:.1f} GB/s", bandwidth, low, peak)
    axes.legend(loc="upper left", framealpha=0.9)
    _name_gaps(axes, roofline)


def _label_slope(axes: Axes, text: str, bandwidth: float, low: float, peak: float) -> None:
    """Write along the memory's roof, at the middle of what is seen of it."""
    left = max(low, axes.get_ylim()[0] / bandwidth)
    x = math.sqrt(left * peak / bandwidth)
    axes.text(
        *(x, bandwidth * x * 1.12),
        text,
        rotation=math.degrees(math.atan(bandwidth)),
        rotation_mode="anchor",
        transform_rotates_text=True,
        ha="center",
        va="bottom",
        fontweight="bold",
    )


def _name_gaps(axes: Axes, roofline: Roofline) -> None:
    """Name the layers that lose the most time against the roof, each with a line to its point."""
    named = [layer for layer in widest_gaps(roofline, NAMED) if layer.macs]
    # From the left upwards, so that the lines do not cross.
    named.sort(key=lambda layer: layer.intensity)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    for place, layer in enumerate(named):
        lost = (layer.seconds - roofline.limit_of(layer)) * 1e6
        axes.annotate(
            f"{layer.name}  +{lost:.0f} us",
            xy=(layer.intensity, layer.rate / 1e9),
            xytext=(0.97, 0.03 + 0.042 * place),
            textcoords=axes.transAxes,
            ha="right",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "relpos": (0, 0.5)},
            bbox=white,
            zorder=4,
        )
    axes.text(
        *(0.97, 0.03 + 0.042 * len(named)),
        "furthest above what the roof allows",
        transform=axes.transAxes,
        ha="right",
        fontweight="bold",
        bbox=white,
        zorder=6,
    )


def _draw_gap(axes: Axes, roofline: Roofline) -> None:
    """The whole batch in one glance: as measured, its kernels, and what the limits allow."""
    bars = (
        ("measured", roofline.whole_s, DARK),
        ("kernels alone", roofline.kernels_s, GREY),
        ("peak and memory allow", roofline.limit_s, MARK),
        ("the peak allows", roofline.macs / roofline.peak, MARK),
    )
    places = np.arange(len(bars))
    axes.barh(places, [s * 1e3 for _, s, _ in bars], color=[c for _, _, c in bars], height=0.7)
    for place, (_, seconds, _) in enumerate(bars):
        axes.annotate(
            f"{seconds * 1e3:.2f} ms  ({roofline.batch_size / seconds:.1f} samples/s)",
            *((seconds * 1e3, place), (4, 0)),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(places, [name for name, _, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, roofline.whole_s * 1e3 * 1.5)
    axes.set_xlabel("time of a batch in ms")
    _frame(axes)


def _plain_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _draw_times(axes: Axes, roofline: Roofline) -> None:
    from matplotlib import colormaps

    layers = roofline.layers
    places = np.arange(len(layers))
    times = [layer.seconds * 1e6 for layer in layers]
    limits = [roofline.limit_of(layer) * 1e6 for layer in layers]
    colours = colormaps[COLOURS]
    fills = [colours(layer.rate / roofline.peak) if layer.macs else NO_WORK for layer in layers]
    axes.barh(places, times, color=fills, height=0.8)
    for colour, width in (("white", 3.2), (MARK, 1.8)):
        marks = axes.vlines(limits, places - 0.42, places + 0.42, color=colour, linewidth=width)
    for place, time, limit in zip(places, times, limits, strict=True):
        axes.annotate(
            f"{time:.0f}",
            *((max(time, limit), place), (3, 0)),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=GREY,
        )
    axes.set_yticks(places, [layer.name for layer in layers], fontsize=8)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, max(*times, *limits) * 1.08)
    axes.set_xlabel("time in us" + ("" if all(x.macs for x in layers) else " (grey: no MACs)"))
    axes.set_title(
        f"Layers in execution order: kernels {roofline.kernels_s * 1e3:.2f} ms of"
        f" {roofline.whole_s * 1e3:.2f} ms ({100 * roofline.kernels_share:.0f}%)",
        fontsize=11,
    )
    axes.legend([marks], ["what the roof allows"], loc="lower right", framealpha=0.9)
    _frame(axes)


def _frame(axes: Axes) -> None:
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _normalise() -> Normalize:
    from matplotlib.colors import Normalize

    return Normalize(0, 100)
