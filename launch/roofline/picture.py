"""A roofline as a picture: work against the roof, and time in execution order."""

from __future__ import annotations

import math
from functools import partial

from launch.charts.axes import Categories, Linear, Logarithmic, number
from launch.charts.chart import ROW, Chart, Point, heat
from launch.charts.picture import Panel, picture, sheet
from launch.roofline.figures import Roofline
from launch.roofline.table import slowest, widest_gaps
from netrun.roofline.measurement import Layer

LEFT, RIGHT = sheet(620.0), sheet(540.0)
NAMED = 5
LARGEST_DOT = 16.0
GAP_ROW, LAYER_ROW = 27.0, 15.5
ROOF_HEIGHTS = 360.0, 800.0
AROUND = 107.0
"""Height of what stands in the left column beside the roof and the gap's bars."""
NUMBER = 13.0
"""Height of a number."""
MARK = "c2"
"""Colour of what the limits allow."""


def draw(roofline: Roofline, title: str, machine: str) -> str:
    """The picture as the text of an SVG file.

    Left: rate over intensity, both logarithmic, an area for each layer's part of the time, below
    the roof that peak and memory make; under it the whole batch against its limits. Right: a bar
    for each layer's time with a mark where the roof would let it end. Colours are shares of the
    peak.
    """
    kernels, whole = roofline.kernels_s * 1e3, roofline.whole_s * 1e3
    times, gap = _times(roofline), _gap(roofline)
    least, most = ROOF_HEIGHTS
    height = min(max(times.size[1] - gap.size[1] - AROUND, least), most)
    heats = ("heat", "share of int8 peak, 0 to 100%")
    idle = [("fill c3", "no MACs")] if any(not layer.macs for layer in roofline.layers) else []
    return picture(
        f"{title}: {roofline.in_words(roofline.samples_per_s)},"
        f" {100 * roofline.share_of_peak:.0f}% of the int8 peak",
        machine,
        [
            Panel(
                "Layers below the roof",
                _roof(roofline, height),
                "Each layer's rate over its intensity, below what peak and memory allow.",
                [
                    heats,
                    ("dot h5", "area: time"),
                    (f"dot whole {MARK}", f"whole batch, {number(_rate(roofline))} GMAC/s"),
                ],
            ),
            Panel(
                "The whole batch",
                gap,
                f"{whole:.2f} ms where the limits allow {roofline.limit_s * 1e3:.2f} ms.",
            ),
        ],
        [
            Panel(
                f"Layers in execution order: kernels {kernels:.2f} ms of {whole:.2f} ms"
                f" ({100 * roofline.kernels_share:.0f}%)",
                times,
                "The time of each layer, and what the roof allows.",
                [heats, *idle, (f"line {MARK}", "the roof allows")],
            )
        ],
    )


def _rate(roofline: Roofline) -> float:
    """The rate of the whole batch in GMAC/s."""
    return roofline.macs / roofline.whole_s / 1e9


def _roof(roofline: Roofline, height: float) -> Chart:
    layers = [layer for layer in slowest(roofline, len(roofline.layers)) if layer.macs]
    peak, bandwidth = roofline.peak / 1e9, roofline.bandwidth / 1e9
    ridge = peak / bandwidth
    intensities = [layer.intensity for layer in layers]
    low, high = min(*intensities, ridge / 2) / 2, max(*intensities, ridge) * 2.5
    bottom = min(*(layer.rate / 1e9 for layer in layers), peak / 2) / 2
    chart = Chart(
        "rate in GMAC/s",
        "intensity in MAC per byte of activations and weights",
        partial(Logarithmic, low, high),
        partial(Logarithmic, bottom, peak * 2),
        height=height,
        sheet=LEFT,
        rules="xy",
    )
    start = max(low, bottom / bandwidth)
    roof = [(start, bandwidth * start), (ridge, peak), (high, peak)]
    chart.band(roof, "c3", above=True)
    chart.line(roof, "c0")
    chart.text((high, peak), f"int8 peak {peak:.1f} GMAC/s", anchor="end", by=(-6, -8))
    _label_slope(chart, f"memory {bandwidth:.1f} GB/s", roof[0], roof[1])
    # The longest first, so that no dot hides a smaller one.
    for layer in layers:
        share = layer.rate / roofline.peak
        tip = (
            f"{layer.name}: {layer.seconds * 1e6:.0f} µs, {layer.rate / 1e9:.1f} GMAC/s,"
            f" {100 * share:.0f}% of the peak"
        )
        chart.dots([(*_place(layer), True, tip)], heat(share), _radius(layer, roofline))
    rate = _rate(roofline)
    moved = sum(layer.bytes for layer in roofline.layers)
    chart.diamond(roofline.macs / moved, rate, f"whole batch: {rate:.1f} GMAC/s", MARK)
    _name_gaps(chart, roofline, (high, bottom))
    return chart


def _place(layer: Layer) -> Point:
    """Intensity and rate, in the units of the axes."""
    return layer.intensity, layer.rate / 1e9


def _radius(layer: Layer, roofline: Roofline) -> float:
    """Of a dot whose area is the layer's share of the time."""
    return LARGEST_DOT * math.sqrt(layer.seconds / slowest(roofline, 1)[0].seconds)


def _name_gaps(chart: Chart, roofline: Roofline, corner: Point) -> None:
    """Number the layers that lose the most time against the roof, and list them in a corner."""
    layers = [layer for layer in widest_gaps(roofline, NAMED) if layer.macs]
    taken: list[Point] = []
    for layer in sorted(layers, key=lambda layer: -layer.rate):
        x, y = chart.x(layer.intensity), chart.y(layer.rate / 1e9)
        radius = _radius(layer, roofline)
        right = 0.0 if radius > NUMBER / 2 else radius + NUMBER / 2
        # From the top down, one below the other where dots lie on each other.
        near = [up + NUMBER for left, up in taken if abs(x + right - left) < NUMBER]
        lower = max([y, *near])
        taken.append((x + right, lower))
        rank = str(layers.index(layer) + 1)
        chart.text(_place(layer), rank, "label", by=(right, lower - y + 4))
    for at, layer in enumerate(layers):
        entry = f"{at + 1}  {layer.name}  +{_lost(roofline, layer):.0f} µs"
        chart.text(corner, entry, "unit", "end", (-10, -12 - ROW * (len(layers) - 1 - at)))
    heading = "furthest above what the roof allows"
    chart.text(corner, heading, "name", "end", (-10, -14 - ROW * len(layers)))


def _lost(roofline: Roofline, layer: Layer) -> float:
    """The time beyond what the limits allow, in µs."""
    return (layer.seconds - roofline.limit_of(layer)) * 1e6


def _label_slope(chart: Chart, text: str, start: Point, end: Point) -> None:
    """Write along the memory's roof, at the middle of its visible part."""
    right, down = chart.x(end[0]) - chart.x(start[0]), chart.y(end[1]) - chart.y(start[1])
    middle = (math.sqrt(start[0] * end[0]), math.sqrt(start[1] * end[1]))
    chart.text(middle, text, by=(0, -8), turn=math.degrees(math.atan2(down, right)))


def _gap(roofline: Roofline) -> Chart:
    """The whole batch in one glance: as measured, its kernels, and what the limits allow."""
    bars = (
        ("measured", roofline.whole_s, "c0"),
        ("kernels alone", roofline.kernels_s, "c3"),
        ("peak and memory allow", roofline.limit_s, MARK),
        ("the peak allows", roofline.macs / roofline.peak, MARK),
    )
    longest = max(seconds for _, seconds, _ in bars) * 1e3
    chart = Chart(
        "",
        "time of a batch in ms",
        partial(Linear, 0.0, longest * 1.65),
        partial(Categories, [name for name, *_ in bars]),
        height=GAP_ROW * len(bars),
        sheet=LEFT,
        rules="x",
    )
    for place, (name, seconds, colour) in enumerate(bars):
        text = f"{seconds * 1e3:.2f} ms ({roofline.in_words(roofline.batch_size / seconds)})"
        chart.box((0, seconds * 1e3), (place - 0.36, place + 0.36), f"{name}: {text}", colour)
        chart.text((seconds * 1e3, place), text, "unit", "start", by=(6, 4))
    return chart


def _times(roofline: Roofline) -> Chart:
    layers = roofline.layers
    limits = [roofline.limit_of(layer) * 1e6 for layer in layers]
    chart = Chart(
        "",
        "time in µs",
        partial(Linear, 0.0, max(*(layer.seconds * 1e6 for layer in layers), *limits) * 1.1),
        partial(Categories, [layer.name for layer in layers]),
        height=LAYER_ROW * len(layers),
        sheet=RIGHT,
        rules="x",
    )
    for place, (layer, limit) in enumerate(zip(layers, limits, strict=True)):
        time = layer.seconds * 1e6
        colour = heat(layer.rate / roofline.peak) if layer.macs else "c3"
        tip = f"{layer.name}: {time:.0f} µs; the roof allows {limit:.0f} µs"
        chart.box((0, time), (place - 0.4, place + 0.4), tip, colour)
        ends = [(limit, place - 0.45), (limit, place + 0.45)]
        chart.line(ends, MARK, "edge")
        chart.line(ends, MARK)
        chart.text((max(time, limit), place), f"{time:.0f}", "", "start", by=(5, 4))
    return chart
