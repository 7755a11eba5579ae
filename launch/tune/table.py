"""The trials of a search as a table for the terminal and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launch.tune.evidence import Summary
from launch.tune.search import Trial

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("trial", "instances", "cores each", "batch", "policy", "in flight", "short", "long")


def trials_table(trials: Sequence[Trial], unit: str) -> Table:
    """All trials, the best first; those that were pruned have no longer measurement."""
    from rich.table import Table

    table = Table(title=f"trials, {unit}", title_justify="left")
    for name in (*COLUMNS, "proposed by"):
        table.add_column(name, justify="left" if name in ("policy", "proposed by") else "right")
    for trial in sorted(trials, key=lambda t: (t.value is None, -t.figure)):
        table.add_row(*_row(trial), trial.source)
    return table


def finalists_table(finalists: dict[str, Summary], default: str, unit: str) -> Table:
    """Repeats of the finalists in alternating rounds."""
    from rich.table import Table

    table = Table(title=f"finalists, {unit}, alternating rounds", title_justify="left")
    for name in ("choice", "median", "spread", "repeats"):
        table.add_column(name, justify="left" if name == "choice" else "right")
    for name, found in sorted(finalists.items(), key=lambda item: -item[1].median):
        mark = " (default)" if name == default else ""
        spread = f"{100 * found.spread:.1f}%"
        table.add_row(f"{name}{mark}", f"{found.median:.4g}", spread, str(len(found.values)))
    return table


def trials_csv(trials: Sequence[Trial]) -> str:
    """All trials in order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(c.replace(" ", "_") for c in COLUMNS), "proposed_by", "seconds"])
    for trial in trials:
        writer.writerow([*_row(trial), trial.source, f"{trial.seconds:.1f}"])
    return text.getvalue()


def _row(trial: Trial) -> list[str]:
    choice = trial.choice
    return [
        str(trial.number),
        str(choice.layout.instances),
        str(choice.layout.each),
        str(choice.batch_size),
        choice.policy,
        str(choice.in_flight),
        f"{trial.short:.4g}",
        "pruned" if trial.value is None else f"{trial.value:.4g}",
    ]
