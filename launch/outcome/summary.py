"""What a record means, as about ten lines for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from launch.options import RunOptions
from launch.outcome.advice import advice, limit_share
from launch.outcome.spread import spread
from launch.screen.terminal import framed
from loadrun.scenarios import MODES
from netrun.engines.onednn import references

PERCENTILES = ("p50", "p90", "p99")
"""All that LoadGen computes are in run.json."""


def summary(record: dict[str, Any], places: Sequence[Path] = ()) -> list[str]:
    """The result of a complete run: figure, verdict with cures, latencies, instances, what next.

    `places` are where its files stand. What makes the figures doubtful stands above them. An
    accuracy in the official wording is the last line.
    """
    lines = framed("SILENT INSTANCES", record["alarm"]) if record.get("alarm") else []
    lines += [f"results: {place}" for place in places]
    lines += [
        heading(record),
        *_shown(record),
        *_figures(record),
        *_verdict(record),
        *_latencies(record),
    ]
    lines += [*_harness(record), *_instances(record)]
    lines += [f"  note: {text}" for text in record.get("not_quiet", [])]
    lines += [f"  note: {text}" for text in _slow_kernels(record)]
    if record["unofficial_reasons"]:
        lines.append("  not official: " + "; ".join(record["unofficial_reasons"]))
    lines += [f"  next: {text}" for text in advice(record)]
    return [*lines, *_accuracy(record)]


def heading(record: dict[str, Any]) -> str:
    """Model, scenario, mode and what it ran on."""
    words = [record["model"], record["scenario"], record["mode"]]
    if record["audit"]:
        words.append(record["audit"])
    words += [record["engine"], record["precision"]]
    if record.get("synthetic"):
        words.append("synthetic")
    return "  ".join(words)


def _shown(record: dict[str, Any]) -> Iterable[str]:
    for title, value in RunOptions.shown_in(record).items():
        if value is not None:
            yield f"  {title}: {value}"


def _figures(record: dict[str, Any]) -> Iterable[str]:
    result = record["result"]
    metric = result["metric"]
    if metric is not None:
        verdict = {True: "VALID", False: "INVALID", None: ""}[result["valid"]]
        yield f"  {metric['name']}: {metric['value']:.6g} {metric['unit']}  {verdict}"


def _verdict(record: dict[str, Any]) -> Iterable[str]:
    for missed in record["result"]["invalid"]:
        yield f"  INVALID because {missed['reason']}"
        yield f"    cure: {missed['cure']}"
    for text in record["result"]["errors"]:
        yield f"  LoadGen error: {text}"


def _latencies(record: dict[str, Any]) -> Iterable[str]:
    latencies_ns = record["result"]["latencies_ns"]
    shown = [
        f"{name} {_short(latencies_ns[name] / 1e6)}" for name in PERCENTILES if name in latencies_ns
    ]
    if not shown:
        return
    yield "  latency in ms: " + "  ".join(shown) + _of_limit(limit_share(record))


def _of_limit(share: float | None) -> str:
    if share is None:
        return ""
    return f"  ({100 * share:.0f}% of the limit)" if share < 2 else f"  ({share:.3g} limits)"


def _short(value: float) -> str:
    """Four digits; Offline's latencies, as long as the test, in whole units."""
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def _harness(record: dict[str, Any]) -> Iterable[str]:
    rate = record["standalone_rate"]
    if record["harness_efficiency"] is not None:
        yield (
            f"  harness efficiency: {record['harness_efficiency']:.3f} of the instances'"
            f" {rate:.6g} samples/s standalone"
        )
    if record["deaths"]:
        yield (
            f"  {len(record['deaths'])} times an instance died;"
            f" {record['redispatched_samples']} samples were re-dispatched"
        )


def _instances(record: dict[str, Any]) -> Iterable[str]:
    found = spread(record.get("instances") or [])
    if found is not None:
        yield f"  {len(record['instances'])} instances: {found}"
    plan = record.get("plan") or {}
    if plan.get("fitted"):
        instances, cores = plan["requested"]
        asked = [f"{instances} instances"] if instances else []
        asked += [f"{cores} processors"] if cores else []
        yield f"  note: the plan was fitted to this machine; asked for: {' on '.join(asked)}"


def _slow_kernels(record: dict[str, Any]) -> Iterable[str]:
    """What slows every instance alike, as all map the same artifact."""
    for engine in (record.get("engines") or {}).values():
        slow = references.notice((engine.get("details") or {}).get("references") or {})
        return [slow] if slow else []
    return []


def _accuracy(record: dict[str, Any]) -> Iterable[str]:
    accuracy = record.get("accuracy")
    if accuracy is None:
        if MODES[record["mode"]].accuracy:
            why = record.get("labels_from") or "no accuracy (cure: --labels)"
            yield f"  note: the images have no labels: {why}"
        return
    for text in accuracy.get("doubts", []):
        yield f"  INVALID because the accuracy means nothing: {text}"
    if accuracy["target"] is not None:
        reached = "reached" if accuracy["value"] >= accuracy["target"] else "missed"
        yield f"  MLPerf's accuracy target of {100 * accuracy['target']:.3f}%: {reached}"
    yield accuracy["text"]
