"""What a record means, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PERCENTILES = ("p50", "p90", "p95", "p97", "p99", "p99.9")


def summary(record: dict[str, Any]) -> list[str]:
    """The result of a complete run: figure, verdict with cures, latencies, efficiency."""
    lines = [heading(record)]
    result = record["result"]
    metric = result["metric"]
    if metric is not None:
        verdict = {True: "VALID", False: "INVALID", None: ""}[result["valid"]]
        lines.append(f"  {metric['name']}: {metric['value']:.6g} {metric['unit']}  {verdict}")
    for missed in result["invalid"]:
        lines.append(f"  INVALID because {missed['reason']}")
        lines.append(f"    cure: {missed['cure']}")
    lines += [f"  LoadGen error: {text}" for text in result["errors"]]
    lines += _latencies(result["latencies_ns"])
    lines += _harness(record)
    lines += [f"  note: {text}" for text in record.get("not_quiet", [])]
    if record["unofficial_reasons"]:
        lines.append("  not official: " + "; ".join(record["unofficial_reasons"]))
    accuracy = record.get("accuracy")
    if accuracy is not None:
        if accuracy["target"] is not None:
            reached = "reached" if accuracy["value"] >= accuracy["target"] else "missed"
            lines.append(
                f"  MLPerf's accuracy target of {100 * accuracy['target']:.3f}%: {reached}"
            )
        lines.append(accuracy["text"])
    return lines


def heading(record: dict[str, Any]) -> str:
    """Model, scenario, mode and what it ran on."""
    words = [record["model"], record["scenario"], record["mode"]]
    if record["audit"]:
        words.append(record["audit"])
    words += [record["engine"], record["precision"]]
    if record.get("synthetic"):
        words.append("synthetic")
    return "  ".join(words)


def _latencies(latencies_ns: dict[str, int]) -> Iterable[str]:
    shown = [
        f"{name} {latencies_ns[name] / 1e6:.4g}" for name in PERCENTILES if name in latencies_ns
    ]
    if shown:
        yield "  latency in ms: " + "  ".join(shown)


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
