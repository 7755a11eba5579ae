"""The table at the end of a series."""

from __future__ import annotations

from collections.abc import Sequence

from launch.screen.columns import show_columns
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
    """All rows."""
    show_columns(terminal, COLUMNS, [cells(*one) for one in ended])
