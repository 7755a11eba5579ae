"""Times by batch size as a table and a few sentences; how a batch is cut, in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launch.sizes.figures import Size, measured
from netrun.engines.onednn import references

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("samples", "as it is, ms", "as run, ms", "ms per sample", "samples/s", "how it runs")


def rows(sizes: Sequence[Size]) -> list[tuple[str, ...]]:
    """A row of text for each size that was measured."""
    return [
        (
            str(size.samples),
            "" if size.own_ms is None else f"{size.own_ms:.2f}",
            f"{size.ms:.2f}",
            f"{size.sample_ms:.3f}",
            f"{size.rate:.1f}",
            size.way,
        )
        for size in measured(sizes)
    ]


def draw(sizes: Sequence[Size]) -> Table:
    """The table."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[-1] else "right")
    for row in rows(sizes):
        table.add_row(*row)
    return table


def sentences(sizes: Sequence[Size], facts: Mapping[str, Any]) -> list[str]:
    """What the table amounts to, one sentence a line."""
    best = min(sizes, key=lambda size: size.sample_ms)
    one = sizes[0]
    lines = [
        f"least time of a sample: {best.sample_ms:.3f} ms in batches of {best.samples}"
        f" ({best.rate:.1f} samples/s); alone {one.ms:.2f} ms"
    ]
    other = [size for size in sizes if not size.as_it_is]
    if other:
        named = ", ".join(str(size.samples) for size in other)
        lines.append(
            f"as they are, batches of {named} would take longer than filled up or in parts"
        )
    else:
        lines.append("every size is run as it is: none takes longer than a larger one, or in parts")
    if len(measured(sizes)) < len(sizes):
        lines.append("times of sizes between these are interpolated")
    lines.append(cut(facts))
    slow = references.notice(facts["references"])
    return [*lines, slow] if slow else lines


def cut(facts: Mapping[str, Any]) -> str:
    """How a batch is cut into chunks, and what each way to do it took when it was built."""
    stages = ", ".join(
        f"{operations} operation{'s' * (operations != 1)} by {chunk}"
        for operations, chunk in facts["stages"]
    )
    took = ", ".join(f"{name} {ms:.2f}" for name, ms in facts["cuts_ms"].items())
    count = len(facts["batch_ms"])
    batch = f"batches of {count}" if count > 1 else "a lone sample"
    return f"cut of {batch} ({facts['cut']}): {stages}; ms for each way: {took}"
