"""The tables of a run's page: settings, host, versions, instances, the run before."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from launch.charts.axes import duration, number, percent
from launch.charts.markup import Child, Markup, scroller, tag
from launch.options import RunOptions
from launch.report.history import (
    PERCENTILES,
    SETTINGS,
    facts,
    higher_is_better,
    recorded_scenario,
    served_s,
)
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


def settings(record: dict[str, Any]) -> Markup:
    """What shaped the figure."""
    plan, given = record["plan"], record.get("settings") or {}
    count, cores = len(plan["instances"]), len(plan["instances"][0]["processors"])
    rows: list[Row] = [
        ("engine", f"{record['engine']}, {record['precision']}"),
        ("instances", f"{count} x {_count(cores, 'core')}{_fitted(plan)}"),
        ("batch size", f"{record['batch_size']}, {record['in_flight']} in flight"),
        ("policy", None if record.get("in_process") else record["policy"]),
        ("in one process", "yes" if record.get("in_process") else None),
        ("tuned", record.get("tuned")),
        ("pinning", _pinning(record)),
        ("weights", _asset(record.get("weights"))),
        ("data", _asset(record.get("data"))),
        ("calibration", record.get("calibration")),
    ]
    if given:
        rows += _loadgen(recorded_scenario(record), given, record.get("target_source"))
    return pairs(rows)


def _loadgen(scenario: Scenario, given: dict[str, Any], source: str | None) -> list[Row]:
    """What LoadGen was told; a run that failed early has not told it anything."""
    said = f" (set by: {source})" if source else ""
    expected = given.get(scenario.target.setting, 0)
    rows: list[Row]
    if scenario.scheduled:
        rows = [("target rate", f"{number(expected)} queries/s{said}")]
    elif scenario.at_once:
        rows = [("expected rate", f"{number(expected)} samples/s{said}")]
    else:
        rows = [("expected latency", f"{duration(expected)}{said}")]
    if scenario.limit is not None and scenario.percentile is not None:
        limit_ns, share = given.get(scenario.limit, 0), given.get(scenario.percentile, 0)
        rows.append(("latency limit", f"{duration(limit_ns)} for {percent(share)}"))
    return [
        *rows,
        ("least duration", f"{number(given.get('min_duration_ms', 0) / 1e3)} s"),
        ("least queries", f"{given.get('min_query_count', 0):,}"),
        ("samples in memory", _whole(given.get("performance_sample_count_override"))),
    ]


def host(record: dict[str, Any]) -> Markup:
    """The machine that it ran on."""
    found = record["host"]
    gib = found.get("memory_bytes", 0) / 2**30
    rows: list[Row] = [
        ("name", found.get("name")),
        ("processor", found.get("processor")),
        ("instruction set", found.get("isa")),
        ("VNNI", {True: "yes", False: "no"}.get(found.get("vnni"))),  # type: ignore[call-overload]
        (
            "processors",
            f"{found.get('processors')} on {found.get('cores')} cores,"
            f" {_count(found.get('sockets', 1), 'socket')},"
            f" {_count(found.get('nodes', 1), 'memory node')}",
        ),
        ("CPU quota", _whole(found.get("quota"))),
        ("memory", f"{number(gib)} GiB"),
        ("governor", found.get("governor")),
        ("preloaded", ", ".join(record.get("preloaded") or []) or None),
        *((name, version) for name, version in record.get("versions", {}).items()),
    ]
    return pairs(rows)


def quiet(record: dict[str, Any]) -> Markup:
    """What others did on the machine meanwhile, and how long the phases took."""
    seen = record.get("disturbance") or {}
    timings = record.get("timings_s") or {}
    before = timings.get("prepared")
    loadrun = timings.get("loadrun") or {}
    throttled = seen.get("throttled_s")
    rows: list[Row] = [
        ("steal", _share(seen.get("steal"))),
        ("other work", _share(seen.get("other_work"))),
        ("held up by a quota", None if throttled is None else f"{number(throttled)} s"),
        ("slowed down for heat", _times(seen.get("thermal_throttles"))),
        ("load average before", _loads(record["host"].get("load_average"))),
        ("load average after", _loads(seen.get("load_average"))),
        ("prepared after", None if before is None else f"{number(before)} s"),
        *((f"loadrun: {name.replace('_', ' ')}", f"{number(s)} s") for name, s in loadrun.items()),
        ("the whole run", f"{number(timings['total'])} s" if "total" in timings else None),
    ]
    return pairs(rows)


def instances(record: dict[str, Any]) -> Markup:
    """What each instance did, in numbers."""
    seconds = served_s(record) or 0
    plan = {instance["index"]: instance for instance in record["plan"]["instances"]}
    body = []
    for done in record.get("instances") or []:
        planned = plan.get(done["instance"], {})
        batches = done["batches"] or 1
        body.append(
            [
                done["instance"],
                ", ".join(map(str, planned.get("processors", ()))),
                f"{done['samples']:,}",
                f"{done['batches']:,}",
                number(done["samples"] / batches),
                percent(done["busy_s"] / seconds) if seconds else "-",
                number(done["samples"] / done["busy_s"]) if done["busy_s"] else "-",
                number(done["rate"]),
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


def versus(record: dict[str, Any], before: dict[str, Any]) -> Markup:
    """This run and an earlier one of its kind (its facts): figures, ratios, what else differs."""
    now = facts(record)
    body = [
        _compared(name, value, past, shown, higher)
        for name, value, past, shown, higher in _figures(now, before)
        if value is not None and past is not None
    ]
    changed = [
        f"{plain(key)}: {told(before.get(key))} → {told(now.get(key))}"
        for key in SETTINGS
        if before.get(key) != now.get(key)
    ]
    verdicts = {True: "VALID", False: "INVALID", None: "-"}
    body.insert(0, ["verdict", verdicts[now["valid"]], "", verdicts[before.get("valid")]])
    same = "All settings were the same." if not changed else None
    return tag(
        "div",
        grid("this run and the run before", ("", "this run", "ratio", "the run before"), body),
        tag("p", same or "What differs:", class_="quiet after"),
        tag("ul", *(tag("li", text) for text in changed), class_="after") if changed else None,
    )


def _figures(
    now: dict[str, Any], before: dict[str, Any]
) -> Iterable[tuple[str, Any, Any, str, bool]]:
    unit = now["unit"]
    yield "figure", now["figure"], before.get("figure"), unit or "", higher_is_better(unit)
    # In Offline they only say how long the test took.
    names = () if recorded_scenario(now).at_once else PERCENTILES
    for name in names:
        past = (before.get("latencies_ns") or {}).get(name)
        yield f"{name} of latency", now["latencies_ns"].get(name), past, "ns", False
    for key, name in (
        ("accuracy", "accuracy"),
        ("harness_efficiency", "harness efficiency"),
        ("utilisation", "time in the engine"),
    ):
        yield name, now[key], before.get(key), "share", True


def _compared(name: str, value: float, past: float, unit: str, higher: bool) -> list[Child]:
    def shown(figure: float) -> str:
        if unit == "ns":
            return duration(figure)
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


def command(record: dict[str, Any]) -> str:
    """The command line, as one can give it again."""
    return shlex.join(map(str, record.get("command") or []))


def plain(key: str) -> str:
    """A setting's name for people."""
    return _PLAIN.get(key, key)


def told(value: object) -> str:
    """A setting, short."""
    if value is None:
        return "none"
    return number(value) if isinstance(value, float) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _fitted(plan: dict[str, Any]) -> str:
    if plan.get("oversubscribed"):
        return " (oversubscribed)"
    return " (fitted to this machine)" if plan.get("fitted") else ""


def _pinning(record: dict[str, Any]) -> str | None:
    found = record.get("pinning")
    if not found:
        return None
    memory = "with memory nodes" if found["memory"] else "without memory nodes"
    return f"{found['method']}, {memory}"


def _asset(asset: dict[str, Any] | None) -> Child:
    if not asset:
        return None
    digest = asset.get("sha256") or ""
    name = str(asset["name"])
    text = f"{name} (synthetic)" if asset.get("synthetic") and name != "synthetic" else name
    if not digest:
        return text
    return tag("span", text, " ", tag("code", digest[:DIGEST], title=f"sha256 {digest}"))


def _whole(value: float | None) -> str | None:
    return number(value) if value else None


def _share(value: float | None) -> str | None:
    return None if value is None else percent(value)


def _times(value: int | None) -> str | None:
    return None if value is None else f"{value} times"


def _loads(values: list[float] | None) -> str | None:
    return None if not values else ", ".join(f"{value:.2f}" for value in values)
