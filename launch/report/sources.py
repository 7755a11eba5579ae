"""Finding run.json files, and writing pages beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from base.files import write_text
from launch.outcome.record.run import Record, load
from launch.outcome.results import OLD, REPORT, RUN_JSON, STAGING
from launch.screen.terminal import Terminal

CURE = "give the directory of a run, or its run.json"
SHAPE = (ArithmeticError, LookupError, ValueError)
"""What building a page raises where values that each are right do not go together."""


@dataclass(frozen=True)
class Source:
    """A run.json, read."""

    path: Path
    record: Record


def load_run(run: Path) -> Source:
    """Read a run by its directory or run.json; InputError names the file and the cure."""
    path = run / RUN_JSON if run.is_dir() else run
    return Source(path, load(path, CURE))


def find(results: Path) -> list[Path]:
    """All run.json files below a directory; not those of runs that are under way."""
    if not results.is_dir():
        raise InputError(f"{results}: no such directory of results; give it with --results")
    return sorted(
        path
        for path in results.rglob(RUN_JSON)
        if not any(
            part.startswith(STAGING) or OLD in part for part in path.relative_to(results).parts
        )
    )


def build(source: Source, page: Callable[[Record], str]) -> str:
    """The page of a run; InputError where its run.json holds something else."""
    try:
        return page(source.record)
    except SHAPE as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(f"{source.path}: not the record of a run ({what}); {CURE}") from None


def write_page(path: Path, page: str) -> None:
    """Write a page: aside, then renamed. InputError names the file that cannot be written."""
    try:
        write_text(path, page)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a place that can be written to") from None


def write_report(directory: Path, record: Record, terminal: Terminal) -> None:
    """Write the page of a run that has just ended; where that fails, the run counts all the same.

    The fault is reported in one line.
    """
    from launch.report.page import run_page

    source = Source(directory / RUN_JSON, record)
    try:
        write_page(page_beside(source), build(source, run_page))
    except Exception as error:
        # Whatever it is: hours of a test must not be lost over a picture of it.
        terminal.line(f"  note: no {REPORT}: {error}")


def page_beside(source: Source) -> Path:
    """Where the page of a run stands."""
    return source.path.with_name(REPORT)
