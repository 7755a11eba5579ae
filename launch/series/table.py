"""The table at the end of a series."""

from __future__ import annotations

from collections.abc import Sequence

from launch.screen.terminal import Terminal
from launch.series.ledger import Ended
from launch.series.steps import Step

COLUMNS = ("benchmark", "scenario", "what", "result", "accuracy", "verdict", "exit")


def cells(step: Step, ended: Ended) -> tuple[str, ...]:
    """One row, in the order of COLUMNS."""
    options = step.options
    what = " ".join(step.tests) or options.mode
    return (
        *(options.model, options.scenario, what, ended.result, ended.accuracy, ended.verdict),
        str(int(ended.code)),
    )


def show_table(terminal: Terminal, ended: Sequence[tuple[Step, Ended]]) -> None:
    """All rows; columns in which nothing stands are left out."""
    from rich import box
    from rich.table import Table

    rows = [cells(*one) for one in ended]
    used = [at for at in range(len(COLUMNS)) if any(row[at] for row in rows)]
    table = Table(box=box.SIMPLE_HEAD)
    for at in used:
        table.add_column(COLUMNS[at], justify="right" if COLUMNS[at] == "exit" else "left")
    for row in rows:
        table.add_row(*(row[at] for at in used))
    terminal.table(table)
