"""The index of all results: a table to sort, with the trend of each configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from launch.charts.axes import nanoseconds, number
from launch.charts.chart import spark
from launch.charts.markup import Child, Markup, address, scroller, tag
from launch.options import RunOptions
from launch.outcome.record.earlier import RunFacts, higher_is_better
from launch.outcome.record.history import facts, same_kind
from launch.outcome.record.run import Record
from launch.outcome.results import COMPLETE
from launch.report import tables
from launch.report.page import badge, document, model_title
from launch.report.sources import Source, page_beside

COLUMNS = (
    "model",
    "scenario",
    "verdict",
    "figure",
    "vs before",
    "trend",
    "p99",
    "accuracy",
    "instances",
    "batch size",
    "started",
    *RunOptions.shown_in({}),
)
Cell = tuple[Child, str | float | None]
"""What a cell shows, and what it is sorted by."""


def without_copies(sources: Iterable[Source]) -> list[Source]:
    """Each run once: the place that is deepest, the first of several."""
    kept: dict[str, Source] = {}
    for source in sources:
        known = kept.get(source.record.run_id)
        if known is None or len(source.path.parts) > len(known.path.parts):
            kept[source.record.run_id] = source
    return sorted(kept.values(), key=lambda s: s.record.started, reverse=True)


def index_page(sources: Sequence[Source], place: Path) -> str:
    """The index of these runs as HTML; links lead from `place`, the file that it will be.

    Columns in which no run has anything are left out.
    """
    table_cells = [cells(source, place) for source in sources]
    used = [at for at in range(len(COLUMNS)) if any(row[at][0] is not None for row in table_cells)]
    rows = [
        tag(
            "tr",
            *(
                tag("td", row[at][0], data_key=None if row[at][1] is None else str(row[at][1]))
                for at in used
            ),
        )
        for row in table_cells
    ]
    names = [COLUMNS[at] for at in used]
    heads = [
        tag("th", tag("button", name, type="button") if name != "trend" else name, scope="col")
        for name in names
    ]
    table = tag(
        "table",
        tag("thead", tag("tr", *heads)),
        tag("tbody", *rows),
        class_="grid sortable",
    )
    words = f"{len(sources)} run{'s' * (len(sources) != 1)}, the newest first."
    return document(
        "Results | loadrun",
        tag(
            "header",
            tag("h1", "Results"),
            tag("p", words, " Each name leads to the run's page; heads sort.", class_="quiet"),
        ),
        tag("div", scroller("results", table), class_="card"),
        shape="roomy",
        script=Path(__file__).with_name("sort.js").read_text(encoding="utf-8"),
    )


def cells(source: Source, place: Path) -> list[Cell]:
    """The row of a run, in the order of COLUMNS."""
    record, options = source.record, source.record.options
    run = facts(record)
    link = address(page_beside(source), place.parent)
    mode = " ".join(filter(None, (options.mode, options.audit)))
    earlier = same_kind(record)
    p99 = run.latencies_ns.get("p99") if not record.scenario.at_once else None
    synthetic = ", synthetic" if run.synthetic else ""
    built = f"{run.engine} {run.precision}{synthetic}"
    name = tag("a", model_title(options.model), href=link)
    figure, accuracy = run.figure, run.accuracy
    return [
        (_above(name, built), f"{options.model} {built}"),
        (_above(options.scenario, mode), f"{options.scenario} {mode}"),
        (badge(record), _rank(record)),
        (None if figure is None else f"{number(figure, 4)} {run.unit}", figure),
        _before(run, earlier),
        (_trend(run, earlier), None),
        (None if p99 is None else nanoseconds(p99), p99),
        (None if accuracy is None else f"{100 * accuracy:.2f}%", accuracy),
        (f"{run.instances} x {run.cores}", run.instances),
        (run.batch_size, run.batch_size),
        (str(run.started or "")[:16].replace("T", " "), run.started),
        *((value, value) for value in RunOptions.shown_in(source.record.options.more).values()),
    ]


def _above(text: Child, small: str) -> Markup:
    return tag("span", text, tag("small", small), class_="two")


def _before(run: RunFacts, earlier: Sequence[RunFacts]) -> Cell:
    past = earlier[0].figure if earlier else None
    if run.figure is None or not past:
        return None, None
    better = higher_is_better(run.unit)
    return tables.ratio(run.figure, past, better), run.figure / past


def _trend(run: RunFacts, earlier: Sequence[RunFacts]) -> Markup | None:
    runs = [*reversed(earlier), run]
    values = [found.figure for found in runs if found.figure is not None]
    if len(values) < 2:
        return None
    return spark(values, f"{len(values)} runs, from {number(values[0])} to {number(values[-1])}")


def _rank(record: Record) -> int:
    if record.status != COMPLETE:
        return 3
    return {True: 0, None: 1, False: 2}[record.result.valid if record.result else None]
