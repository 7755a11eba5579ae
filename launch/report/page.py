"""The page of one run."""

from __future__ import annotations

from pathlib import Path

import models
from launch.charts.axes import nanoseconds, number, percent
from launch.charts.markup import Child, Markup, join, scroller, tag
from launch.charts.picture import stylesheet
from launch.machine.doctor.finding import Level
from launch.options import RunOptions
from launch.outcome.record.earlier import PERCENTILES, RunFacts
from launch.outcome.record.history import facts, same_kind
from launch.outcome.record.run import Record
from launch.outcome.results import COMPLETE
from launch.report import figures, tables
from launch.report.machine import machine
from loadrun.durations import duration

LOGS = ("run.json", "mlperf_log_summary.txt", "mlperf_log_detail.txt")
VERDICTS = {True: "VALID", False: "INVALID"}


def run_page(record: Record) -> str:
    """The page of a run from its run.json, as HTML.

    Raises ValueError, IndexError or the like for a record whose parts do not go together.
    """
    if record.status != COMPLETE:
        return document(_title(record), _header(record), _failure(record), *_facts(record))
    charts = [
        figures.latencies(record),
        figures.throughput(record),
        figures.latency_over_time(record),
        figures.depth(record),
        figures.batches(record),
        figures.sizes(record),
        figures.utilisation(record),
        figures.shares(record),
    ]
    drawn = [chart for chart in charts if chart is not None]
    missing = None
    if not record.measured.timeline:
        missing = tag(
            "p",
            "This run was made by a version that kept no timeline: there are no charts of latency,"
            " throughput and batches.",
            class_="quiet",
        )
    return document(
        _title(record),
        _header(record),
        _alarm(record),
        _verdict(record),
        section("How it went", missing, tag("div", *drawn, class_="charts")),
        section("The run before", _before(record)),
        *_facts(record),
    )


def document(title: str, *content: Child, script: str | None = None, shape: str = "") -> str:
    """A whole page around its content, with nothing that lies elsewhere; `shape` is a class."""
    style = stylesheet() + Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        tag("main", *content, class_=shape or None),
        tag("script", Markup(script)) if script else None,
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def section(heading: str, *content: Child) -> Markup:
    """A part of a page."""
    return tag("section", tag("h2", heading), *content)


def badge(record: Record) -> Markup:
    """The verdict as a word of its own colour."""
    if record.status != COMPLETE:
        return tag("strong", record.status, class_="badge bad")
    valid = record.result.valid if record.result else None
    if valid is None:
        return tag("strong", COMPLETE, class_="badge")
    return tag("strong", VERDICTS[valid], class_=f"badge {'good' if valid else 'bad'}")


def model_title(name: str) -> str:
    """A model's name for people; that of one which is not here any more stays as it is.

    A record's file of a user is not run for it.
    """
    if models.is_own(name):
        return Path(name).name
    try:
        return models.title(name)
    except models.UnknownModel:
        return name


def _title(record: Record) -> str:
    options = record.options
    return f"{model_title(options.model)} {options.scenario} {options.mode} | loadrun"


def _header(record: Record) -> Markup:
    options = record.options
    tags = [options.mode, options.audit, options.engine, options.precision]
    if record.assets.synthetic:
        tags.append("synthetic")
    when = record.started.replace("T", " ").replace("+00:00", " UTC")
    shown = RunOptions.shown_in(options.more)
    links = [tag("a", name, href=name) for name in LOGS]
    return tag(
        "header",
        tag("h1", f"{model_title(options.model)} ", tag("span", options.scenario)),
        tag("p", *(tag("span", word, class_="tag") for word in tags if word)),
        *(tag("p", f"{title}: {value}") for title, value in shown.items() if value is not None),
        tag("p", f"{when}  ·  run {record.run_id}", class_="quiet"),
        scroller("command line", tag("code", tables.command(record))),
        tag("p", *links, class_="links"),
    )


def _failure(record: Record) -> Markup:
    return tag(
        "section",
        tag("p", badge(record), class_="headline"),
        tag("div", tag("p", record.error or "no reason was recorded"), class_="alert"),
        *(tag("pre", death.last_words, class_="scroll") for death in record.processes.deaths),
    )


def _alarm(record: Record) -> Markup | None:
    text = record.processes.alarm
    if not text:
        return None
    return tag("div", *(tag("p", line) for line in text.splitlines()), class_="alert")


def _verdict(record: Record) -> Markup:
    result, accuracy = record.result, record.accuracy
    metric = result.metric if result else None
    headline: list[Child] = []
    if metric is not None:
        headline = [
            tag("b", number(metric.value, 4)),
            " ",
            tag("span", metric.unit),
            " ",
            tag("span", metric.name, class_="quiet") if metric.name not in metric.unit else None,
        ]
    elif accuracy is not None:
        headline = [tag("b", f"{100 * accuracy.value:.3f}%"), " accuracy"]
    reasons = [
        tag("li", tag("b", missed.reason), tag("br"), f"Cure: {missed.cure}")
        for missed in (result.invalid if result else ())
    ]
    errors = result.errors if result else ()
    reasons += [tag("li", f"LoadGen error: {text}") for text in errors]
    return tag(
        "section",
        tag("p", badge(record), " ", *headline, class_="headline"),
        tag("ul", *reasons, class_="alert") if reasons else None,
        _tiles(record),
        _notes(record),
    )


def _tiles(record: Record) -> Markup:
    latencies = record.result.latencies_ns if record.result else {}
    plan, measured = record.plan.instances, record.measured
    answered = sum(instance.samples for instance in measured.instances)
    tiles: list[tuple[str, str, str]] = []
    # Offline issues all samples at once: how long each took says nothing of its own.
    scenario = record.scenario
    if not scenario.at_once:
        tiles = [
            (f"{name} of latency", nanoseconds(latencies[name]), "")
            for name in PERCENTILES
            if name in latencies
        ]
    limit = figures.limit_ns(record)
    if limit:
        share = measured.setting(scenario.percentile) or 0
        tiles.append(("latency limit", nanoseconds(limit), f"for {percent(share)} of the queries"))
    efficiency = measured.harness_efficiency
    if efficiency is not None:
        of = f"of {number(measured.standalone_rate or 0)} samples/s standalone"
        tiles.append(("harness efficiency", percent(efficiency), of))
    accuracy = record.accuracy
    if accuracy is not None:
        target = accuracy.target
        goal = f"{accuracy.total:,} samples"
        if accuracy.good is not None:
            goal = f"{accuracy.good:,} of {accuracy.total:,}"
        if target is not None:
            goal = f"MLPerf asks for {100 * target:.3f}%"
        tiles.append(("accuracy", f"{100 * accuracy.value:.3f}%", goal))
    served = measured.served_s
    if served:
        share = measured.busy_s / served / max(len(measured.instances), 1)
        mean = "mean of the instances" if len(plan) > 1 else ""
        tiles.append(("time in the engine", percent(min(share, 1.0)), mean))
    if measured.duration_s:
        expected = measured.expected_duration_s
        note = f"expected {duration(expected)}" if expected else ""
        tiles.append(("duration", duration(measured.duration_s), note))
    tiles.append(("samples", f"{answered:,}", ""))
    cores = record.plan.cores_per_instance or 0
    each = f"x {cores} core{'s' * (cores != 1)}"
    tiles.append((f"instance{'s' * (len(plan) != 1)}", str(len(plan)), each))
    cells = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", tag("b", value), tag("small", more) if more else None),
        )
        for name, value, more in tiles
    ]
    return tag("dl", *cells, class_="tiles")


def _notes(record: Record) -> Markup | None:
    notes: list[Markup] = []
    if record.unofficial_reasons:
        notes.append(join(tag("b", "Not official: "), "; ".join(record.unofficial_reasons)))
    notes += [join(text) for text in (*record.processes.not_quiet, *record.plan.notices)]
    deaths = record.processes.deaths
    if deaths:
        again = record.measured.redispatched_samples
        notes.append(
            join(
                f"Instances that died: {len(deaths)}; {again:,} samples were sent to others. "
                + " ".join(
                    f"Instance {d.instance} at {number(d.at_s)} s: {d.end}." for d in deaths[:8]
                )
            )
        )
    notes += [join(text) for text in record.assets.notes]
    warnings = record.result.warnings if record.result else ()
    notes += [join(f"LoadGen: {text}") for text in warnings]
    for check in record.checks or ():
        if check.level is not Level.OK:
            cure = f" Cure: {check.cure}." if check.cure else ""
            notes.append(join(f"{check.check}: {check.found}: {check.effect}.{cure}"))
    if not notes:
        return None
    return tag("ul", *(tag("li", note) for note in notes), class_="notes")


def _before(record: Record) -> Markup:
    earlier = same_kind(record)
    if not earlier:
        return tag("p", "There is none of this kind to compare with.", class_="quiet")
    now, trend = facts(record), None
    values = [
        (_when(run), run.figure, run.valid, _layout(run))
        for run in reversed(earlier)
        if run.figure is not None
    ]
    if now.figure is not None and now.unit is not None and values:
        values.append((_when(now), now.figure, now.valid, "this run"))
        trend = figures.trend(values, now.unit)
    return tag(
        "div", tag("div", tables.versus(record, earlier[0]), class_="card"), trend, class_="charts"
    )


def _facts(record: Record) -> list[Markup]:
    found = [
        section("The plan on the machine", tag("div", machine(record), class_="card wide")),
    ]
    if record.measured.instances:
        found.append(
            tag(
                "section",
                tag(
                    "details",
                    tag("summary", "Instances in numbers"),
                    tables.instances(record),
                    open=len(record.measured.instances) <= 8,
                ),
            )
        )
    found.append(
        tag(
            "section",
            tag(
                "div",
                tag("div", tag("h3", "Settings"), tables.settings(record), class_="card"),
                tag("div", tag("h3", "Host and versions"), tables.host(record), class_="card"),
                tag("div", tag("h3", "Quiet and phases"), tables.quiet(record), class_="card"),
                class_="charts three",
            ),
        )
    )
    return found


def _when(run: RunFacts) -> str:
    return str(run.started or "").replace("T", " ")[:16]


def _layout(run: RunFacts) -> str:
    return f"{run.instances} x {run.cores} cores, batch size {run.batch_size}"
