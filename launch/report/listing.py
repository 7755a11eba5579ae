"""All runs in a table on the terminal: what the index has of them, in words."""

from __future__ import annotations

from collections.abc import Sequence

from launch.charts.axes import number
from launch.outcome.record.history import facts
from launch.outcome.results import COMPLETE
from launch.report.page import VERDICTS, model_title
from launch.report.sources import Source
from launch.screen.columns import show_columns
from launch.screen.terminal import Terminal

COLUMNS = ("model", "scenario", "what", "result", "accuracy", "verdict", "with", "started")


def show_runs(terminal: Terminal, sources: Sequence[Source]) -> None:
    """A line for each run."""
    show_columns(terminal, COLUMNS, [cells(source) for source in sources])


def cells(source: Source) -> tuple[str, ...]:
    """The row of a run, in the order of COLUMNS."""
    run = facts(source.record)
    options = source.record.options
    if source.record.status != COMPLETE:
        verdict = source.record.status
    else:
        verdict = "" if run.valid is None else VERDICTS[run.valid]
    return (
        model_title(options.model),
        options.scenario,
        " ".join(filter(None, (options.mode, options.audit))),
        "" if run.figure is None else f"{number(run.figure, 4)} {run.unit}",
        "" if run.accuracy is None else f"{100 * run.accuracy:.2f}%",
        verdict,
        f"{run.engine} {run.precision}{', synthetic' if run.synthetic else ''}",
        str(run.started or "")[:16].replace("T", " "),
    )
