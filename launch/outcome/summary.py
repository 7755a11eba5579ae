"""What a record means, as about ten lines for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import models
from launch.options import RunOptions
from launch.outcome.advice import advice, limit_share
from launch.outcome.record.run import Record
from launch.outcome.spread import spread
from launch.screen.terminal import framed
from loadrun.scenarios import MODES
from netrun.engines.onednn import references

PERCENTILES = ("p50", "p90", "p99")
"""All that LoadGen computes are in run.json."""


def summary(record: Record, places: Sequence[Path] = ()) -> list[str]:
    """The result of a complete run: figure, verdict with cures, latencies, instances, what next.

    `places` are where its files stand. What makes the figures doubtful stands above them. An
    accuracy in the official wording is the last line.
    """
    alarm = record.processes.alarm
    lines = framed("SILENT INSTANCES", alarm) if alarm else []
    lines += [f"results: {place}" for place in places]
    lines += [
        heading(record),
        *_shown(record),
        *_figures(record),
        *_verdict(record),
        *_latencies(record),
    ]
    lines += [*_harness(record), *_instances(record)]
    lines += [f"  note: {text}" for text in record.processes.not_quiet]
    lines += [f"  note: {text}" for text in _slow_kernels(record)]
    if record.unofficial_reasons:
        lines.append("  not official: " + "; ".join(record.unofficial_reasons))
    lines += [f"  next: {text}" for text in advice(record)]
    return [*lines, *_accuracy(record)]


def heading(record: Record) -> str:
    """Model, scenario, mode and what it ran on."""
    options = record.options
    words = [options.model, options.scenario, options.mode]
    if options.audit:
        words.append(options.audit)
    words += [options.engine, options.precision]
    if record.assets.synthetic:
        words.append("synthetic")
    return "  ".join(words)


def _shown(record: Record) -> Iterable[str]:
    for title, value in RunOptions.shown_in(record.options.more).items():
        if value is not None:
            yield f"  {title}: {value}"


def _figures(record: Record) -> Iterable[str]:
    result = record.result
    metric = result.metric if result else None
    if result is not None and metric is not None:
        verdict = {True: "VALID", False: "INVALID", None: ""}[result.valid]
        yield f"  {metric.name}: {metric.value:.6g} {metric.unit}  {verdict}"


def _verdict(record: Record) -> Iterable[str]:
    result = record.result
    for missed in result.invalid if result else ():
        yield f"  INVALID because {missed.reason}"
        yield f"    cure: {missed.cure}"
    for text in result.errors if result else ():
        yield f"  LoadGen error: {text}"


def _latencies(record: Record) -> Iterable[str]:
    latencies_ns = record.result.latencies_ns if record.result else {}
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


def _harness(record: Record) -> Iterable[str]:
    measured, deaths = record.measured, record.processes.deaths
    if measured.harness_efficiency is not None:
        yield (
            f"  harness efficiency: {measured.harness_efficiency:.3f} of the instances'"
            f" {measured.standalone_rate:.6g} samples/s standalone"
        )
    if deaths:
        yield (
            f"  {len(deaths)} times an instance died;"
            f" {measured.redispatched_samples} samples were re-dispatched"
        )


def _instances(record: Record) -> Iterable[str]:
    served = record.measured.instances
    found = spread(served)
    if found is not None:
        yield f"  {len(served)} instances: {found}"
    if record.plan.fitted:
        instances, cores = record.plan.requested
        asked = [f"{instances} instances"] if instances else []
        asked += [f"{cores} processors"] if cores else []
        yield f"  note: the plan was fitted to this machine; asked for: {' on '.join(asked)}"


def _slow_kernels(record: Record) -> Iterable[str]:
    """What slows every instance alike, as all map the same artifact."""
    for engine in record.processes.engines.values():
        slow = references.notice(engine.details.references or {})
        return [slow] if slow else []
    return []


def _accuracy(record: Record) -> Iterable[str]:
    accuracy = record.accuracy
    if accuracy is None:
        if MODES[record.options.mode].accuracy:
            why = record.assets.labels_from or "no accuracy (cure: --labels)"
            task = models.get(record.options.model)
            yield f"  note: the {task.items} have no {task.truths}: {why}"
        return
    for text in accuracy.doubts:
        yield f"  INVALID because the accuracy means nothing: {text}"
    if accuracy.target is not None:
        yield f"  {target_line(accuracy.metric, 100 * accuracy.value, 100 * accuracy.target)}"
    yield accuracy.text


def target_line(metric: str, value: float, target: float) -> str:
    """Whether a metric reached its target; both in percent."""
    return (
        f"MLPerf's {metric} target of {target:.3f}%: {'reached' if value >= target else 'missed'}"
    )
