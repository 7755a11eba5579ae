"""Several runs beside each other: figures, settings, and their charts over one another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from launch.charts.axes import Linear, Logarithmic, Nines, nanoseconds, number, percent
from launch.charts.chart import Axis
from launch.charts.lines import COLOURS, Series, line_chart, line_figure, series_colour
from launch.charts.markup import Child, Markup, address, scroller, tag
from launch.options import RunOptions
from launch.outcome.record.earlier import (
    PERCENTILES,
    SETTINGS,
    RunFacts,
    higher_is_better,
    scenario_named,
    setting_of,
)
from launch.outcome.record.history import facts
from launch.report import tables
from launch.report.figures import FEW
from launch.report.page import badge, document, model_title, section
from launch.report.series import Histogram, windows
from launch.report.sources import Source, page_beside


def comparison_page(sources: Sequence[Source], place: Path) -> str:
    """The comparison of these runs as HTML; links lead from `place`, the file that it will be."""
    runs = [facts(source.record) for source in sources]
    names = [_name(run, number) for number, run in enumerate(runs, 1)]
    heads = [
        tag(
            "span",
            tag("i", class_=f"key {series_colour(at)}", aria_hidden="true"),
            tag("a", name, href=address(page_beside(source).absolute(), place.parent)),
        )
        for at, (name, source) in enumerate(zip(names, sources, strict=True))
    ]
    drawn = [chart for chart in (_throughput(sources, names), _latencies(sources, names)) if chart]
    many = len(runs) > COLOURS
    note = f"Colours come again after {COLOURS} runs." if many else None
    return document(
        "Comparison of runs | loadrun",
        tag(
            "header",
            tag("h1", "Comparison of runs"),
            tag("p", f"{len(runs)} runs; ratios are to the first one.", class_="quiet"),
        ),
        section("Figures", tag("div", _table(_figures(sources, runs), heads), class_="card")),
        section("Charts", tag("p", note, class_="quiet"), tag("div", *drawn, class_="charts"))
        if drawn
        else None,
        section(
            "Settings",
            tag("p", "Shaded where runs differ.", class_="quiet"),
            tag("div", _table(_settings(runs), heads), class_="card"),
        ),
    )


def _name(run: RunFacts, number: int) -> str:
    return f"{number}. {model_title(run.model or '')} {run.scenario}"


def _table(rows: Sequence[tuple[str, Sequence[Child], bool]], heads: Sequence[Child]) -> Markup:
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(tag("td", cell) for cell in row),
            class_="differs" if differs else None,
        )
        for name, row, differs in rows
    ]
    columns = [tag("th", head, scope="col") for head in heads]
    table = tag(
        "table",
        tag("thead", tag("tr", tag("td"), *columns)),
        tag("tbody", *body),
        class_="grid",
    )
    return scroller("runs beside each other", table)


def _figures(
    sources: Sequence[Source], runs: Sequence[RunFacts]
) -> list[tuple[str, Sequence[Child], bool]]:
    first = runs[0]
    comparable = all(run.unit == first.unit for run in runs)
    higher = higher_is_better(first.unit)
    rows: list[tuple[str, Sequence[Child], bool]] = [
        ("verdict", [badge(source.record) for source in sources], False),
        (
            "figure",
            ["-" if run.figure is None else f"{number(run.figure)} {run.unit}" for run in runs],
            False,
        ),
    ]
    if comparable and first.figure:
        ratios: list[Child] = [
            tables.ratio(run.figure, first.figure, higher) for run in runs[1:] if run.figure
        ]
        if len(ratios) == len(runs) - 1:
            rows.append(("ratio", ["1", *ratios], False))
    offline = all(scenario_named(run.scenario).at_once for run in runs)
    # There they only say how long the test took.
    for name in () if offline else PERCENTILES:
        found = [run.latencies_ns.get(name) for run in runs]
        rows.append((f"{name} of latency", [nanoseconds(v) if v else "-" for v in found], False))
    for name, shares in (
        ("accuracy", [run.accuracy for run in runs]),
        ("harness efficiency", [run.harness_efficiency for run in runs]),
        ("time in the engine", [run.utilisation for run in runs]),
    ):
        if any(share is not None for share in shares):
            rows.append((name, ["-" if s is None else percent(s) for s in shares], False))
    lasted = [run.duration_s for run in runs]
    rows.append(("duration", [f"{number(s)} s" if s else "-" for s in lasted], False))
    started = [str(run.started or "")[:16].replace("T", " ") for run in runs]
    rows.append(("started", started, False))
    notes = [RunOptions.shown_in(source.record.options.more) for source in sources]
    for title in RunOptions.shown_in({}):
        if any(values[title] is not None for values in notes):
            rows.append((title, [values[title] or "-" for values in notes], False))
    return rows


def _settings(runs: Sequence[RunFacts]) -> list[tuple[str, Sequence[Child], bool]]:
    rows: list[tuple[str, Sequence[Child], bool]] = []
    for key in ("mode", "audit", *SETTINGS):
        values = [setting_of(run, key) for run in runs]
        if any(value is not None for value in values):
            differs = any(value != values[0] for value in values)
            rows.append(
                (tables.plain(key), [tables.setting_text(value) for value in values], differs)
            )
    return rows


def _throughput(sources: Sequence[Source], names: Sequence[str]) -> Markup | None:
    found = [
        (at, windows(timeline))
        for at, source in enumerate(sources)
        if (timeline := source.record.measured.timeline)
    ]
    series = [
        Series(names[at], [((w.start_s + w.end_s) / 2, w.rate) for w in run], series_colour(at))
        for at, run in found
        if run
    ]
    if not series:
        return None
    end_s = max(run[-1].end_s for _, run in found if run)
    x = partial(Linear, 0.0, end_s)
    chart = line_chart(series, "samples/s", "s since the first query", x, dotted=False)
    return line_figure("Throughput", chart, series, "Throughput over time, one line for each run.")


def _latencies(sources: Sequence[Source], names: Sequence[str]) -> Markup | None:
    found: list[tuple[int, Histogram]] = []
    for at, source in enumerate(sources):
        timeline = source.record.measured.timeline
        histogram = Histogram.of(timeline) if timeline else None
        if histogram is not None:
            found.append((at, histogram))
    if not found:
        return None
    offline = any(source.record.scenario.at_once for source in sources)
    high = max(run.edges[-1] for _, run in found)
    x: Axis
    y: Axis
    if offline:
        x = partial(Linear, 0.0, high, label=nanoseconds, count=4)
        y = partial(Linear, 0.0, 1.0, label=percent, count=4)
        found = [(at, run.even(FEW, high)) for at, run in found]
    else:
        low = min(run.edges[0] for _, run in found)
        x = partial(Logarithmic, low, high, label=nanoseconds)
        y = partial(Nines, 3)
    series = [
        Series(
            names[at],
            [(e, n / run.total) for e, n in zip(run.edges, run.below, strict=True)],
            series_colour(at),
        )
        for at, run in found
    ]
    chart = line_chart(series, "as quick or quicker", "latency", x, y, dotted=False)
    words = "Cumulative distribution of latencies, one line for each run."
    return line_figure("Latency", chart, series, words)
