"""A roofline as a table and a few sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launch.roofline.figures import Roofline
from netrun.roofline.measurement import Layer, Limits

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Column:
    """A column's title and, below it, its unit; `spare` is its turn to be left out (0: never)."""

    title: str
    unit: str = ""
    number: bool = True
    spare: int = 0


COLUMNS = (
    Column("layer", number=False),
    Column("in -> out", "height x width x channels", number=False, spare=1),
    Column("kernel", number=False, spare=2),
    Column("work", "MMAC", spare=5),
    Column("moved", "KB", spare=3),
    Column("intensity", "MAC/B", spare=4),
    Column("time", "us"),
    Column("share", "of time"),
    Column("rate", "GMAC/s"),
    Column("share", "of peak"),
    Column("bound", "GMAC/s", spare=6),
    Column("share", "of bound"),
)
GAP = 3
"""Spaces between two columns."""


def rows(roofline: Roofline) -> list[tuple[str, ...]]:
    """A row of text for each layer, in execution order, and one for all kernels together."""
    found = [_row(roofline, layer) for layer in roofline.layers]
    everything = Layer(
        f"{len(roofline.layers)} kernels",
        *((), (), ""),
        roofline.macs,
        sum(layer.bytes for layer in roofline.layers),
        roofline.kernels_s,
    )
    bound = roofline.macs / roofline.limit_s
    return [*found, _cells(roofline, everything, "", bound, roofline.limit_s / roofline.kernels_s)]


def _row(roofline: Roofline, layer: Layer) -> tuple[str, ...]:
    shapes = f"{_shape(layer.source)} -> {_shape(layer.output)}"
    bound, share = roofline.bound(layer), roofline.share_of_bound(layer)
    return _cells(roofline, layer, shapes, bound, share)


def _cells(
    roofline: Roofline, layer: Layer, shapes: str, bound: float, share: float
) -> tuple[str, ...]:
    # A layer without multiply-accumulates has a time that memory allows, but no rate.
    works = layer.macs > 0
    return (
        layer.name,
        shapes,
        layer.kernel,
        f"{layer.macs / 1e6:.1f}" if works else "",
        f"{layer.bytes / 1e3:.0f}",
        f"{layer.intensity:.1f}" if works else "",
        f"{layer.seconds * 1e6:.0f}",
        _percent(layer.seconds / roofline.kernels_s, 1),
        f"{layer.rate / 1e9:.1f}" if works else "",
        _percent(layer.rate / roofline.peak) if works else "",
        f"{bound / 1e9:.1f}" if works else "",
        _percent(share),
    )


def draw(roofline: Roofline, width: int | None = None) -> tuple[Table, list[str]]:
    """The table, and the titles of the columns left out so that it fits `width` (None: none)."""
    from rich import box
    from rich.table import Table

    cells = rows(roofline)
    shown = _fitting(cells, width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for place in shown:
        column = COLUMNS[place]
        table.add_column(
            f"{column.title}\n{column.unit}",
            justify="right" if column.number else "left",
            no_wrap=column.number,
            overflow="fold",
        )
    for row in cells[:-1]:
        table.add_row(*(row[place] for place in shown))
    table.add_section()
    table.add_row(*(cells[-1][place] for place in shown))
    return table, [column.title for place, column in enumerate(COLUMNS) if place not in shown]


def _fitting(cells: list[tuple[str, ...]], width: int | None) -> list[int]:
    """Places of the columns that fit `width` together, the spare ones left out in their turn."""
    widths = [
        GAP + max(len(text) for text in (column.title, column.unit, *(row[i] for row in cells)))
        for i, column in enumerate(COLUMNS)
    ]
    shown = list(range(len(COLUMNS)))
    for place in sorted((i for i in shown if COLUMNS[i].spare), key=lambda i: COLUMNS[i].spare):
        if width is None or sum(widths[i] for i in shown) <= width:
            break
        shown.remove(place)
    return shown


def limits(found: Limits) -> list[str]:
    """The machine's limits and how they were found."""
    best = max(found.probes, key=lambda probe: probe.macs_per_s)
    read, copy = found.read_bytes_per_s / 1e9, found.copy_bytes_per_s / 1e9
    return [
        f"int8 peak: {best.macs_per_s / 1e9:.1f} GMAC/s, the best of {len(found.probes)} layers"
        f" that suit the kernels ({best.name}, {best.kernel})",
        f"memory: {max(read, copy):.1f} GB/s, the better of reading ({read:.1f}) and copying"
        f" ({copy:.1f} read and written) {found.array_bytes >> 20} MiB",
    ]


def totals(roofline: Roofline) -> list[str]:
    """What it amounts to, one sentence a line."""
    return [
        f"batch of {roofline.batch_size}: {roofline.macs / 1e9:.3f} GMAC in"
        f" {roofline.whole_s * 1e3:.2f} ms: {roofline.in_words(roofline.samples_per_s)},"
        f" {_percent(roofline.share_of_peak)} of the int8 peak",
        f"kernels {roofline.kernels_s * 1e3:.2f} ms of {roofline.whole_s * 1e3:.2f} ms"
        f" ({_percent(roofline.kernels_share)})",
        f"the peak allows {roofline.in_words(roofline.peak_samples_per_s)}; peak and memory"
        f" together {roofline.in_words(roofline.limit_samples_per_s)}",
    ]


def slowest(roofline: Roofline, count: int) -> list[Layer]:
    """The layers that take the most time, slowest first."""
    return sorted(roofline.layers, key=lambda layer: -layer.seconds)[:count]


def widest_gaps(roofline: Roofline, count: int) -> list[Layer]:
    """The layers that take the most time more than the limits allow, widest gap first."""
    return sorted(roofline.layers, key=lambda layer: roofline.limit_of(layer) - layer.seconds)[
        :count
    ]


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}%"
