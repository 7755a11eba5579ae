"""Why a test is INVALID, and which setting would make it VALID: with its value, where it follows.

Values come from the run's own figures and are rounded to the safe side. A cure is for the next run
of the same command; it may uncover another condition, but never asks for the impossible.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from loadrun.capacity import LIMIT_SHARE, fits_limit, server_qps, service_time_s
from loadrun.logs import LoadgenResult
from loadrun.scenarios import SCENARIOS

_MORE_QUERIES = re.compile(r"at least (\d+) more queries")
_ENOUGH_QUERIES = re.compile(r"process at least (\d+) queries")
_SIGNIFICANT = 3
_SAFE = 0.9
"""Share of a load that did not hold, or of what was completed, that is tried next."""
_OVERLOADED = 0.95
"""Completed share of the schedule below which queries only piled up."""
_LONGER = 1.1
"""A test that is to take a time gets so much more of it: rates vary from run to run."""
_CONFIDENCE = 0.99
_CONFIDENCE_SIGMAS = 2.326
"""Early stopping's confidence, and the standard deviations of a normal distribution for it."""


@dataclass(frozen=True)
class Serving:
    """What served the test: the standalone `rate` of all instances (samples/s), and how many."""

    rate: float
    instances: int


def explain(
    result: LoadgenResult, count: int | None = None, serving: Serving | None = None
) -> list[tuple[str, str]]:
    """Return (reason, cure) for every condition that an INVALID test missed.

    `count` is the number of queries (Offline: samples) that --count set.
    """
    if result.valid is not False:
        return []
    pairs = []
    if result.perf_constraints_met is False:
        pairs.append((_late(result), _less_late(result, serving)))
    if result.min_duration_met is False:
        duration_s = _number(result, "effective_min_duration_ms") / 1e3
        pairs.append(
            (
                f"the test took less than its minimum of {duration_s:g} s",
                _lengthen(result, count, duration_s),
            )
        )
    if result.min_queries_met is False:
        pairs.append(_too_few_queries(result))
    if result.early_stopping_met is False:
        told = " ".join(
            str(result.fields.get("early_stopping_result", "")).replace("*", " ").split()
        )
        pairs.append(
            (
                f"too few queries for the confidence MLPerf asks for: {told}",
                _more_confidence(result, count),
            )
        )
    return pairs


def _late(result: LoadgenResult) -> str:
    percentile = 100 * _percentile(result)
    reached = result.latencies_ns.get(f"p{percentile:g}")
    shown = f" ({reached / 1e6:.3g} ms)" if reached is not None else ""
    limit_ms = _number(result, "effective_target_latency_ns") / 1e6
    return (
        f"the {percentile:g}th percentile of latency{shown} is above the limit of {limit_ms:g} ms"
    )


def _less_late(result: LoadgenResult, serving: Serving | None) -> str:
    """A rate that holds the limit, or what else it takes where none would."""
    limit_s = _number(result, "effective_target_latency_ns") / 1e9
    alone_s = _lone_sample_s(result, serving, limit_s)
    if alone_s is not None:
        more = math.ceil(alone_s / (LIMIT_SHARE * limit_s)) if limit_s else 2
        return (
            f"no --qps would do: a lone sample takes {1e3 * alone_s:.3g} ms; give each instance "
            f"about {max(more, 2)} times the processors (fewer --instances on the same --cores)"
        )
    qps = holding_qps(result, serving)
    target = _number(result, "effective_target_qps")
    if not qps:
        return "lower --qps (target_qps), or give each instance more processors"
    return (
        f"lower --qps (target_qps) from {target:g} to about {_down(qps):g}; "
        "loadrun find-qps finds the highest that holds"
    )


def holding_qps(result: LoadgenResult, serving: Serving | None = None) -> float | None:
    """Return a Server rate (queries/s) that should hold the latency limit after this run did not.

    Below what was asked for and completed, and no more than queueing theory gives `serving`. None
    where the log names no rate.
    """
    target = _number(result, "effective_target_qps")
    completed = _number(result, "result_completed_samples_per_sec")
    scheduled = _number(result, "result_scheduled_samples_per_sec")
    loads = [_SAFE * target] if target else []
    if completed and completed < _OVERLOADED * scheduled:
        loads.append(_SAFE * completed)
    limit_s = _number(result, "effective_target_latency_ns") / 1e9
    if serving is not None and serving.rate > 0 and limit_s:
        loads.append(server_qps(serving.rate, serving.instances, limit_s, _percentile(result)))
    return min(loads, default=None)


def _lone_sample_s(result: LoadgenResult, serving: Serving | None, limit_s: float) -> float | None:
    """How long a sample takes that waits for none before it, where that alone breaks the limit."""
    quickest_s = result.latencies_ns.get("min", 0) / 1e9
    if quickest_s > limit_s:
        return quickest_s
    if serving is None or serving.rate <= 0 or fits_limit(serving.rate, serving.instances, limit_s):
        return None
    return service_time_s(serving.rate, serving.instances)


def _lengthen(result: LoadgenResult, count: int | None, duration_s: float) -> str:
    """What lets a test take its minimum duration."""
    took_s = _took_s(result)
    if count is not None:
        if not took_s:
            return f"raise --count or lower --time: the test ended after --count {count}"
        enough = _up(_LONGER * count * duration_s / took_s)
        return (
            f"raise --count from {count} to {enough:g}, or lower --time to {_down(took_s):g}: "
            f"the test ended after --count {count}"
        )
    fields, scenario = result.fields, SCENARIOS[result.scenario]
    if scenario.at_once:
        rate, target = (
            _number(result, "result_samples_per_second"),
            _number(result, "effective_target_qps"),
        )
        to = f" from {target:g} to {_up(rate):g}" if rate else ""
        return (
            f"raise --qps (target_qps){to}, or leave it out: LoadGen issues "
            "min_duration * target_qps samples"
        )
    if scenario.scheduled:
        needed = math.ceil(duration_s * _number(result, "effective_target_qps"))
        return (
            f"raise max_query_count to {needed} and max_duration above {duration_s:g} s in "
            "user.conf (0: no bound): LoadGen stopped there"
        )
    mean_ns = result.latencies_ns.get("mean", 0)
    target = _number(result, "effective_target_qps")
    to = f" from {1e3 / target:g} ms to {_down(mean_ns / 1e6):g} ms" if mean_ns and target else ""
    return (
        f"lower the expected latency{to} (--max-latency; target_latency in user.conf) or leave it "
        f"out: LoadGen ran out of queries after {fields.get('result_query_count', 'too few')}"
    )


def _too_few_queries(result: LoadgenResult) -> tuple[str, str]:
    fields = result.fields
    wanted, issued = fields.get("effective_min_query_count"), fields.get("result_query_count")
    reason = f"{issued} queries were issued, fewer than the minimum of {wanted}"
    most, longest_ms = (
        _number(result, "effective_max_query_count"),
        _number(result, "effective_max_duration_ms"),
    )
    cures = []
    if most and isinstance(wanted, int) and most < wanted:
        cures.append(f"raise max_query_count from {most:g} to {wanted}")
    took_s = _took_s(result)
    if longest_ms and took_s and isinstance(wanted, int) and isinstance(issued, int) and issued:
        enough_s = _up(_LONGER * wanted / issued * took_s)
        if 1e3 * enough_s > longest_ms:
            cures.append(f"raise max_duration from {longest_ms / 1e3:g} s to {enough_s:g} s")
    if not cures:
        return reason, (
            "raise max_query_count or max_duration in user.conf (0: no bound); "
            "mlperf_log_detail.txt says why LoadGen stopped"
        )
    return reason, " and ".join(cures) + " in user.conf (0: no bound)"


def _more_confidence(result: LoadgenResult, count: int | None) -> str:
    """How many queries would do, and how long they take."""
    if SCENARIOS[result.scenario].scheduled and result.perf_constraints_met is False:
        late = result.fields.get("result_overlatency_query_count", "many")
        issued = result.fields.get("result_query_count", "all")
        return (
            f"lower --qps first: with {late} of {issued} queries late no length would do; "
            f"with none late {_enough_on_time(_percentile(result))} queries are enough"
        )
    needed = queries_needed(result)
    if needed is None:
        return f"run longer ({'--time' if count is None else '--count'})"
    if count is not None:
        return f"run longer (--count): raise it from {count} to {_up(needed):g}"
    took_s, issued = _took_s(result), _number(result, "result_query_count")
    if not took_s or not issued:
        return f"run longer (--time): {needed} queries are needed"
    seconds = _up(_LONGER * needed * took_s / issued)
    return f"run longer (--time {seconds:g}): {needed} queries are needed, {issued:g} were issued"


def queries_needed(result: LoadgenResult) -> int | None:
    """Return how many queries early stopping wants in total; None where nothing tells.

    Of LoadGen's own number and the one at which the share of late queries of this run would be
    proof enough, the larger: LoadGen's assumes that none of the others is late.
    """
    told = str(result.fields.get("early_stopping_result", ""))
    told = " ".join(told.replace("*", " ").split())
    issued = int(_number(result, "result_query_count"))
    more, enough = _MORE_QUERIES.search(told), _ENOUGH_QUERIES.search(told)
    if more is None:
        return int(enough.group(1)) if enough else None
    needed = issued + int(more.group(1))
    late = _number(result, "result_overlatency_query_count")
    allowed = 1 - _percentile(result)
    spare = allowed - late / issued if issued else 0
    if late and spare > 0:
        # The normal approximation of the binomial test that early stopping is.
        sigmas = _CONFIDENCE_SIGMAS**2 * allowed * (1 - allowed)
        needed = max(needed, math.ceil(sigmas / spare**2))
    return needed


def _enough_on_time(percentile: float) -> int:
    """Queries that prove a percentile where none of them is late."""
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(percentile))


def _took_s(result: LoadgenResult) -> float | None:
    """How long the test took, by its own rates and latencies; None where they do not tell."""
    queries, scenario = _number(result, "result_query_count"), SCENARIOS[result.scenario]
    if scenario.at_once:
        samples, rate = (
            queries * (_number(result, "generated_samples_per_query") or 1),
            _number(result, "result_samples_per_second"),
        )
        return samples / rate if rate else None
    if scenario.scheduled:
        rate = _number(result, "result_completed_samples_per_sec")
        return queries / rate if rate else None
    return queries * result.latencies_ns.get("mean", 0) / 1e9 or None


def _percentile(result: LoadgenResult) -> float:
    percentile = _number(result, "effective_target_latency_percentile")
    return percentile if 0 < percentile < 1 else 0.99


def _number(result: LoadgenResult, key: str) -> float:
    """A field of the log; 0.0 where it is absent or no number."""
    value: Any = result.fields.get(key)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


def _up(value: float) -> float:
    """Round up to few digits, and whole numbers from 100 on."""
    return _rounded(value, math.ceil)


def _down(value: float) -> float:
    """Round down to few digits."""
    return _rounded(value, math.floor)


def _rounded(value: float, whole: Any) -> float:
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - _SIGNIFICANT + 1)
    # What is a multiple already must not grow by the error of a division.
    steps = whole(round(value / step, 6))
    return float(round(steps * step, 9))
