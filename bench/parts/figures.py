"""Figures of repeated measurements: spread, table, JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.host import host


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of one figure over the rounds."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value."""
        ordered = sorted(values)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])

    def __str__(self) -> str:
        if self.low == self.high:
            return _short(self.middle)
        return " / ".join(map(_short, (self.low, self.middle, self.high)))


def spread(rounds: Iterable[dict[str, Any]], key: str) -> Spread:
    """Return the spread of one key over the rounds."""
    return Spread.of(values[key] for values in rounds)


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a Spread stands as min / median / max over the rounds."""
    rows = list(rows)
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    spreads = any(isinstance(value, Spread) for row in rows for value in row)
    print(f"\n{title}{' (min / median / max)' if spreads else ''}")
    for number, row in enumerate(cells):
        padded = [
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(padded).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
    sys.stdout.flush()


def write_json(path: Path | None, rounds: object) -> None:
    """Write all rounds with the command and the machine, where a path was given."""
    if path is None:
        return
    machine = {
        **host(),
        "processors": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }
    facts = {"command": [Path(sys.argv[0]).name, *sys.argv[1:]], "machine": machine}
    path.write_text(json.dumps({**facts, "rounds": rounds}, indent=1) + "\n", encoding="utf-8")


def _cell(value: object) -> str:
    return _short(value) if isinstance(value, float) else str(value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
