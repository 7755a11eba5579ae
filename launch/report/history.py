"""What is kept of a run when the next one takes its place: the figures that one compares."""

from __future__ import annotations

from typing import Any

from base.options import Goes
from launch.options import RunOptions
from loadrun.scenarios import SCENARIOS, SINGLE_STREAM, Scenario

KEPT = 30
"""Earlier runs that a run.json names, the newest first."""
PERCENTILES = ("p50", "p90", "p99")
"""Latencies that a page tells."""
KIND = RunOptions.going(Goes.KIND)
"""Runs that agree in these can be compared."""
ASKED = RunOptions.going(Goes.SETTING)
SETTINGS = (
    *ASKED,
    "instances",
    "cores",
    "target_qps",
    "weights",
    "data",
    "host",
    "loadrun",
    "torch",
)
"""What can make two runs of a kind differ."""


def recorded_scenario(record: dict[str, Any]) -> Scenario:
    """The scenario of a run; of a name that is none, the one with nothing special to show."""
    return SCENARIOS.get(record.get("scenario", ""), SINGLE_STREAM)


def facts(record: dict[str, Any]) -> dict[str, Any]:
    """The figures and settings of a run, flat; what it does not have is None."""
    result = record.get("result") or {}
    metric = result.get("metric") or {}
    told = result.get("latencies_ns") or {}
    settings = record.get("settings") or {}
    instances = record.get("plan", {}).get("instances") or []
    versions = record.get("versions") or {}
    seconds, each = served_s(record), record.get("instances") or []
    busy = sum(instance["busy_s"] for instance in each)
    scenario = recorded_scenario(record)
    return {
        "run_id": record["run_id"],
        "started": record.get("started"),
        "status": record.get("status"),
        **{key: record.get(key) for key in KIND},
        "valid": result.get("valid"),
        "figure": metric.get("value"),
        "unit": metric.get("unit"),
        "latencies_ns": {name: told[name] for name in PERCENTILES if name in told},
        "harness_efficiency": record.get("harness_efficiency"),
        "utilisation": busy / seconds / len(each) if seconds and each else None,
        "duration_s": record.get("duration_s"),
        "accuracy": (record.get("accuracy") or {}).get("value"),
        "synthetic": record.get("synthetic"),
        **{key: record.get(key) for key in ASKED},
        "instances": len(instances),
        "cores": len(instances[0]["processors"]) if instances else None,
        "target_qps": settings.get(scenario.target.setting) if scenario.scheduled else None,
        "weights": (record.get("weights") or {}).get("name"),
        "data": (record.get("data") or {}).get("name"),
        "host": (record.get("host") or {}).get("name"),
        "loadrun": versions.get("loadrun"),
        "torch": versions.get("torch"),
    }


def served_s(record: dict[str, Any]) -> float | None:
    """Seconds from the first query to the last answer; of old runs, those of LoadGen's test."""
    at_s = (record.get("timeline") or {}).get("at_s")
    seconds: float | None = at_s[-1] if at_s else record.get("duration_s")
    return seconds


def history_after(earlier: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The history of a run that takes the place of the run `earlier` (a run.json, or None)."""
    if not earlier or "run_id" not in earlier:
        return []
    try:
        return [facts(earlier), *(earlier.get("history") or [])][:KEPT]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return []  # what stood there was no record of ours


def same_kind(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Earlier runs of the kind of `record`, the newest first."""
    kind = [record.get(key) for key in KIND]
    return [run for run in record.get("history") or [] if [run.get(key) for key in KIND] == kind]


def higher_is_better(unit: str | None) -> bool:
    """Whether a figure in that unit is a rate, not a latency."""
    return unit != "ms"
