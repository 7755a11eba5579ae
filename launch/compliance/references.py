"""The performance and the accuracy run that an audit run is compared with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from launch.errors import RunError
from launch.options import RunOptions
from launch.results import COMPLETE, PLACES, RUN_JSON, home

PERFORMANCE, ACCURACY = "PerformanceOnly", "AccuracyOnly"
SAME = ("model", "scenario", "engine", "precision", "batch_size", "in_flight", "policy", "plan")
"""What two runs must share to be compared, known before they run..."""
SAME_ASSETS = ("artifact", "data", "weights")
"""...and what is known after it."""


def find_reference(options: RunOptions, mode: str) -> dict[str, Any] | None:
    """Return run.json of the newest complete run of that mode, None where there is none."""
    path = place(options, mode) / RUN_JSON
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if record.get("status") == COMPLETE else None


def place(options: RunOptions, mode: str) -> Path:
    """Return where results of that mode stand."""
    return home(options.results, options.scenario, options.model) / PLACES[mode][0]


def reference_options(options: RunOptions, mode: str) -> RunOptions:
    """Return the options of the run that `options` of an audit is compared with."""
    return replace(options, mode=mode, audit=None)


def check_same(reference: dict[str, Any], audited: dict[str, Any], where: Path) -> None:
    """Raise RunError that names the first thing in which the two runs differ."""
    for key in (*SAME, *SAME_ASSETS):
        if reference.get(key) != audited.get(key):
            raise RunError(
                f"{where}: that run had another {key.replace('_', ' ')} ({reference.get(key)}, "
                f"now {audited.get(key)}); move it away to have it made again"
            )
