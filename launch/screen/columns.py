"""A plain table for people: rows of texts below their titles."""

from __future__ import annotations

from collections.abc import Sequence

from launch.screen.terminal import Terminal


def show_columns(terminal: Terminal, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """All rows; columns in which nothing stands are left out, those of numbers end to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    used = [at for at in range(len(titles)) if any(row[at] for row in rows)]
    for at in used:
        whole = all(row[at].isdecimal() for row in rows)
        table.add_column(titles[at], justify="right" if whole else "left")
    for row in rows:
        table.add_row(*(row[at] for at in used))
    terminal.table(table)
