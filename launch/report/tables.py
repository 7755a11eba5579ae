"""The tables of a run's page: settings, host, versions, instances, the run before."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from launch.charts.axes import nanoseconds, number, percent
from launch.charts.markup import Child, Markup, scroller, tag
from launch.options import RunOptions
from launch.outcome.record.assets import WeightsRecord
from launch.outcome.record.earlier import (
    PERCENTILES,
    SETTINGS,
    RunFacts,
    higher_is_better,
    scenario_named,
    setting_of,
)
from launch.outcome.record.history import facts
from launch.outcome.record.machine import PlanRecord
from launch.outcome.record.measured import MeasuredRecord
from launch.outcome.record.run import Record
from loadrun.scenarios import Scenario

Row = tuple[str, Child]
DIGEST = 12
"""Digits of a sha256 that are shown."""
_PLAIN = {
    **RunOptions.titles(),
    "target_qps": "target rate",
    "cores": "cores of an instance",
}


def pairs(rows: Iterable[Row]) -> Markup:
    """A table of names and values; rows without a value are left out."""
    body = [
        tag("tr", tag("th", name, scope="row"), tag("td", value))
        for name, value in rows
        if value is not None and value != ""
    ]
    return tag("table", tag("tbody", *body), class_="pairs")


def settings(record: Record) -> Markup:
    """What shaped the figure."""
    plan, options, assets = record.plan, record.options, record.assets
    count, cores = len(plan.instances), plan.cores_per_instance or 0
    rows: list[Row] = [
        ("engine", f"{options.engine}, {options.precision}"),
        ("instances", f"{count} x {_count(cores, 'core')}{_fitted(plan)}"),
        ("batch size", f"{options.batch_size}, {options.in_flight} in flight"),
        ("policy", None if options.in_process else options.policy),
        ("in one process", "yes" if options.in_process else None),
        ("tuned", options.tuned),
        ("pinning", _pinning(record)),
        ("weights", _asset(assets.weights)),
        ("data", _asset(assets.data)),
        ("calibration", assets.calibration),
    ]
    if record.measured.settings:
        rows += _loadgen(record.scenario, record.measured)
    return pairs(rows)


def _loadgen(scenario: Scenario, measured: MeasuredRecord) -> list[Row]:
    """LoadGen's settings; a run that failed early has none."""
    source = f" (set by: {measured.target_source})" if measured.target_source else ""

    def given(name: str) -> float:
        return measured.setting(name) or 0

    expected = given(scenario.target.setting)
    rows: list[Row]
    if scenario.scheduled:
        rows = [("target rate", f"{number(expected)} queries/s{source}")]
    elif scenario.at_once:
        rows = [("expected rate", f"{number(expected)} samples/s{source}")]
    else:
        rows = [("expected latency", f"{nanoseconds(expected)}{source}")]
    if scenario.limit is not None and scenario.percentile is not None:
        limit_ns, share = given(scenario.limit), given(scenario.percentile)
        rows.append(("latency limit", f"{nanoseconds(limit_ns)} for {percent(share)}"))
    return [
        *rows,
        ("least duration", f"{number(given('min_duration_ms') / 1e3)} s"),
        ("least queries", f"{given('min_query_count'):,}"),
        ("samples in memory", _whole(given("performance_sample_count_override"))),
    ]


def host(record: Record) -> Markup:
    """The machine that it ran on."""
    found = record.host
    gib = found.memory_bytes / 2**30
    rows: list[Row] = [
        ("name", found.name),
        ("processor", found.processor),
        ("instruction set", found.isa),
        ("VNNI", {True: "yes", False: "no", None: None}[found.vnni]),
        (
            "processors",
            f"{found.processors} on {found.cores} cores, {_count(found.sockets, 'socket')},"
            f" {_count(found.nodes, 'memory node')}",
        ),
        ("CPU quota", _whole(found.quota)),
        ("memory", f"{number(gib)} GiB"),
        ("governor", found.governor),
        ("preloaded", ", ".join(record.preloaded or ()) or None),
        *((name, version) for name, version in record.versions.items()),
    ]
    return pairs(rows)


def quiet(record: Record) -> Markup:
    """What others did on the machine meanwhile, and how long the phases took."""
    seen, timings = record.processes.disturbance, record.timings_s
    before = timings.prepared
    throttled = seen.throttled_s if seen else None
    rows: list[Row] = [
        ("steal", _share(seen.steal if seen else None)),
        ("other work", _share(seen.other_work if seen else None)),
        ("held up by a quota", None if throttled is None else f"{number(throttled)} s"),
        ("slowed down for heat", _times(seen.thermal_throttles if seen else None)),
        ("load average before", _loads(record.host.load_average)),
        ("load average after", _loads(seen.load_average if seen else None)),
        ("prepared after", None if before is None else f"{number(before)} s"),
        *(
            (f"loadrun: {name.replace('_', ' ')}", f"{number(s)} s")
            for name, s in (timings.loadrun or {}).items()
        ),
        ("the whole run", None if timings.total is None else f"{number(timings.total)} s"),
    ]
    return pairs(rows)


def instances(record: Record) -> Markup:
    """What each instance did, in numbers."""
    seconds = record.measured.served_s or 0
    processors = {planned.index: planned.processors for planned in record.plan.instances}
    body: list[list[Child]] = []
    for done in record.measured.instances:
        batches = done.batches or 1
        body.append(
            [
                done.instance,
                ", ".join(map(str, processors.get(done.instance, ()))),
                f"{done.samples:,}",
                f"{done.batches:,}",
                number(done.samples / batches),
                percent(done.busy_s / seconds) if seconds else "-",
                number(done.samples / done.busy_s) if done.busy_s else "-",
                number(done.rate),
            ]
        )
    heads = (
        "instance",
        "processors",
        "samples",
        "batches",
        "samples a batch",
        "in the engine",
        "samples/s in the engine",
        "samples/s at warm-up",
    )
    return grid("instances", heads, body)


def grid(label: str, heads: Iterable[str], body: Iterable[Iterable[Child]]) -> Markup:
    """A table of cells under heads; `label` says what it holds."""
    rows = [tag("tr", *(tag("td", cell) for cell in cells)) for cells in body]
    table = tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *rows),
        class_="grid",
    )
    return scroller(label, table)


def versus(record: Record, before: RunFacts) -> Markup:
    """This run and an earlier one of its kind (its facts): figures, ratios, what else differs."""
    now = facts(record)
    body = [
        _compared(name, value, past, shown, higher)
        for name, value, past, shown, higher in _figures(now, before)
        if value is not None and past is not None
    ]
    changed = [
        f"{plain(key)}: {_setting(before, key)} → {_setting(now, key)}"
        for key in SETTINGS
        if setting_of(before, key) != setting_of(now, key)
    ]
    verdicts = {True: "VALID", False: "INVALID", None: "-"}
    body.insert(0, ["verdict", verdicts[now.valid], "", verdicts[before.valid]])
    same = "All settings were the same." if not changed else None
    return tag(
        "div",
        grid("this run and the run before", ("", "this run", "ratio", "the run before"), body),
        tag("p", same or "What differs:", class_="quiet after"),
        tag("ul", *(tag("li", text) for text in changed), class_="after") if changed else None,
    )


def _figures(
    now: RunFacts, before: RunFacts
) -> Iterable[tuple[str, float | None, float | None, str, bool]]:
    unit = now.unit
    yield "figure", now.figure, before.figure, unit or "", higher_is_better(unit)
    # In Offline they only say how long the test took.
    names = () if scenario_named(now.scenario).at_once else PERCENTILES
    for name in names:
        past = before.latencies_ns.get(name)
        yield f"{name} of latency", now.latencies_ns.get(name), past, "ns", False
    yield "accuracy", now.accuracy, before.accuracy, "share", True
    yield "harness efficiency", now.harness_efficiency, before.harness_efficiency, "share", True
    yield "time in the engine", now.utilisation, before.utilisation, "share", True


def _compared(name: str, value: float, past: float, unit: str, higher: bool) -> list[Child]:
    def shown(figure: float) -> str:
        if unit == "ns":
            return nanoseconds(figure)
        return percent(figure) if unit == "share" else f"{number(figure)} {unit}"

    return [name, shown(value), ratio(value, past, higher), shown(past)]


def ratio(value: float, past: float, higher: bool) -> Child:
    """One figure over another, with a word on what that means."""
    if not past:
        return "-"
    times = value / past
    # Smaller differences are noise more often than not.
    if abs(times - 1) < 0.02:
        return f"{times:.3f}"
    better = (times > 1) == higher
    word = "better" if better else "worse"
    return tag("span", f"{times:.3f} {word}", class_=word)


def command(record: Record) -> str:
    """The command line, as one can give it again."""
    return shlex.join(record.command)


def plain(key: str) -> str:
    """A setting's name for people."""
    return _PLAIN.get(key, key)


def setting_text(value: object) -> str:
    """A setting, short."""
    if value is None:
        return "none"
    return number(value) if isinstance(value, float) else str(value)


def _setting(run: RunFacts, key: str) -> str:
    return setting_text(setting_of(run, key))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _fitted(plan: PlanRecord) -> str:
    if plan.oversubscribed:
        return " (oversubscribed)"
    return " (fitted to this machine)" if plan.fitted else ""


def _pinning(record: Record) -> str:
    memory = "with memory nodes" if record.pinning.memory else "without memory nodes"
    return f"{record.pinning.method}, {memory}"


def _asset(asset: WeightsRecord | None) -> Child:
    if not asset:
        return None
    digest, name = asset.sha256, asset.name
    text = f"{name} (synthetic)" if asset.synthetic and name != "synthetic" else name
    if not digest:
        return text
    return tag("span", text, " ", tag("code", digest[:DIGEST], title=f"sha256 {digest}"))


def _whole(value: float | None) -> str | None:
    return number(value) if value else None


def _share(value: float | None) -> str | None:
    return None if value is None else percent(value)


def _times(value: int | None) -> str | None:
    return None if value is None else f"{value} times"


def _loads(values: Sequence[float] | None) -> str | None:
    return None if not values else ", ".join(f"{value:.2f}" for value in values)
