"""Read what LoadGen wrote about a test."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.errors import quoted
from loadrun.scenarios import SCENARIOS, LoggedMetric, Scenario

_LINE = re.compile(r"^:::MLLOG (\{.*\})\s*$")
_PERCENTILE = re.compile(r"^result_([0-9.]+)_percentile_(?:per_query_)?latency_ns$")
_NUMBERS = (
    "effective_target_latency_percentile",
    "effective_target_latency_ns",
    "effective_min_duration_ms",
)
"""What `loadrun.verdict` computes with."""


class LogError(ValueError):
    """LoadGen's logs are absent or unreadable; the message names the file."""


@dataclass(frozen=True)
class Metric:
    """The figure a scenario is judged by."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class LoadgenResult:
    """One test as LoadGen logged it.

    `valid` and `metric` are None where the mode gives no performance result (AccuracyOnly).
    `latencies_ns` maps p50, p90, p95, p97, p99, p99.9, min, mean and max to ns; they are per query
    in MultiStream and per sample elsewhere. `fields` holds every key of the detail log (the last
    value of each), `errors` and `warnings` LoadGen's messages.
    """

    valid: bool | None
    scenario: str
    mode: str
    metric: Metric | None
    latencies_ns: dict[str, int]
    perf_constraints_met: bool | None
    min_duration_met: bool | None
    min_queries_met: bool | None
    early_stopping_met: bool | None
    reasons: list[str]
    errors: list[str]
    warnings: list[str]
    fields: dict[str, Any] = field(repr=False)


def parse_result(log_dir: str | Path) -> LoadgenResult:
    """Read mlperf_log_detail.txt in `log_dir`. Raises LogError."""
    path = Path(log_dir) / "mlperf_log_detail.txt"
    fields, errors, warnings = _read(path)
    try:
        return _result(path, fields, errors, warnings)
    except LogError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise LogError(f"{path}: not LoadGen's detail log ({quoted(str(error))})") from None


def _result(
    path: Path, fields: dict[str, Any], errors: list[str], warnings: list[str]
) -> LoadgenResult:
    for key in _NUMBERS:
        if not isinstance(fields.get(key, 0.0), (int, float)):
            raise LogError(f"{path}: {key} is {quoted(fields[key])}, expected a number")
    name = fields.get("effective_scenario") or fields.get("requested_scenario")
    mode = fields.get("effective_test_mode") or fields.get("requested_test_mode")
    if name not in SCENARIOS or not isinstance(mode, str):
        raise LogError(f"{path}: no test in this log; LoadGen did not start or did not finish")
    scenario = SCENARIOS[name]
    validity = fields.get("result_validity")
    reason = fields.get("result_invalid_reason", "")
    return LoadgenResult(
        valid=None if validity is None else validity == "VALID",
        scenario=name,
        mode=mode,
        metric=None if validity is None else _metric(scenario.metric, fields),
        latencies_ns=_latencies(scenario, fields),
        perf_constraints_met=fields.get("result_perf_constraints_met"),
        min_duration_met=fields.get("result_min_duration_met"),
        min_queries_met=fields.get("result_min_queries_met"),
        early_stopping_met=fields.get("early_stopping_met"),
        reasons=[part.strip() + "." for part in reason.split(". ") if part.strip(" .")],
        errors=errors,
        warnings=warnings,
        fields=fields,
    )


def _read(path: Path) -> tuple[dict[str, Any], list[str], list[str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LogError(f"cannot read {path}: {error.strerror}") from None
    fields: dict[str, Any] = {}
    errors, warnings = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(":::MLLOG"):
            continue
        match = _LINE.match(line)
        try:
            entry: dict[str, Any] = json.loads(match.group(1)) if match else {}
            key, value = entry["key"], entry["value"]
            metadata = entry.get("metadata") or {}
        except (ValueError, KeyError, RecursionError):
            key = value = metadata = None
        if not isinstance(key, str) or not isinstance(metadata, dict):
            raise LogError(f"{path}:{number}: not a line of LoadGen's detail log")
        if metadata.get("is_error"):
            errors.append(f"{key}: {value}")
        elif metadata.get("is_warning"):
            warnings.append(f"{key}: {value}")
        # The loaded set is as long as the data set and no result.
        if key != "loaded_qsl_set":
            fields[key] = value
    return fields, errors, warnings


def _metric(logged: LoggedMetric, fields: dict[str, Any]) -> Metric | None:
    value = fields.get(logged.key)
    if not value and logged.fallback is not None:
        value = fields.get(logged.fallback)
    return None if value is None else Metric(logged.name, float(value) * logged.factor, logged.unit)


def _latencies(scenario: Scenario, fields: dict[str, Any]) -> dict[str, int]:
    per_query = scenario.samples_per_query is not None
    found = {}
    for statistic in ("min", "mean", "max"):
        middle = "query_" if per_query else ""
        value = fields.get(f"result_{statistic}_{middle}latency_ns")
        if value is not None:
            found[statistic] = int(value)
    for key, value in fields.items():
        match = _PERCENTILE.match(key)
        if match and ("_per_query_" in key) == per_query:
            found[f"p{float(match.group(1)):g}"] = int(value)
    return found
