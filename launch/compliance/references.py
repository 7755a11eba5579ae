"""The performance and the accuracy run that an audit run is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launch.compliance.rules import LATENCIES
from launch.errors import InputError, RunError
from launch.options import RunOptions
from launch.results import COMPLETE, RUN_JSON, home, places, read_json
from loadrun.scenarios import TARGETS

PERFORMANCE, ACCURACY = "PerformanceOnly", "AccuracyOnly"
SAME = (
    *("model", "scenario", "engine", "precision", "batch_size", "in_flight", "policy", "plan"),
    *("artifact", "data", "weights", "round"),
)
"""What two runs must share to be compared."""


def compared_with(test: str) -> tuple[str, ...]:
    """Return the modes of the runs that a test is held against; TEST01 holds answers, too."""
    return (PERFORMANCE, ACCURACY) if test == "TEST01" else (PERFORMANCE,)


def find_reference(options: RunOptions, mode: str) -> dict[str, Any] | None:
    """Return run.json of the newest complete run of that mode, None where there is none."""
    record = read_json(place(options, mode) / RUN_JSON)
    return record if record is not None and record.get("status") == COMPLETE else None


def place(options: RunOptions, mode: str) -> Path:
    """Return where results of that mode stand; those of an audit where `options` are of one."""
    where = home(options.results, options.scenario, options.model)
    return places(where, mode, options.audit)[0]


def at_same_load(audit: RunOptions) -> RunOptions:
    """Return the options of a compliance test with the expected rate of its performance run.

    A rate that is measured anew would compare the tests of two loads.
    """
    reference = find_reference(replace(audit, audit=None), PERFORMANCE)
    settings = (reference or {}).get("settings") or {}
    target = settings.get(TARGETS[audit.scenario])
    if not target:
        return audit
    qps = 1e9 / target if audit.scenario in LATENCIES else target
    return replace(audit, reference_qps=qps)


def difference(
    reference: dict[str, Any], other: dict[str, Any], keys: Sequence[str] = SAME
) -> str | None:
    """Return in what two runs that are to be compared differ first; None where in nothing."""
    for key in keys:
        if reference.get(key) != other.get(key):
            values = f"{_short(reference.get(key))}, now {_short(other.get(key))}"
            return f"another {key.replace('_', ' ')} ({values})"
    return None


def _short(value: Any) -> str:
    """A value of run.json in a few words."""
    if not isinstance(value, dict):
        return str(value)
    if "instances" in value:
        processors = sum(len(instance["processors"]) for instance in value["instances"])
        return f"{len(value['instances'])} instances on {processors} processors"
    return f"{value.get('name')} {str(value.get('sha256'))[:8]}"


def check_planned(reference: dict[str, Any], planned: dict[str, Any], where: Path) -> None:
    """Raise InputError for a reference that a run will differ from which has not begun.

    `planned` is its run.json at the start, which does not tell weights and data yet.
    """
    differs = difference(reference, planned, [key for key in SAME if key in planned])
    if differs is not None:
        raise InputError(_cure(differs, where))


def check_same(
    reference: dict[str, Any] | None, audited: dict[str, Any] | None, where: Path
) -> None:
    """Raise RunError that names the first thing in which the two runs differ."""
    if reference is None or audited is None:
        raise RunError(f"{where}: no longer holds a complete run to compare with")
    differs = difference(reference, audited)
    if differs is not None:
        raise RunError(_cure(differs, where))


def _cure(differs: str, where: Path) -> str:
    return f"{where}: that run had {differs}; move it away to have it made again"
