"""Why a test is INVALID, and which setting would make it VALID: with its value, where it follows.

Values come from the run's own figures and are rounded to the safe side. A cure is for the next run
of the same command; it may uncover another condition, but never asks for the impossible.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadrun.capacity import (
    EQUAL,
    LIMIT_SHARE,
    at_share,
    fits_limit,
    server_qps,
    service_time_s,
)
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
class Served:
    """What served the test: the standalone `rate` of all instances (samples/s), and how many.

    `cores` are those of an instance, `processors` all that may be used (0: not known). `costs` are
    equally likely ones of the samples, in parts of the mean (`loadrun.capacity.quantiles`).
    """

    rate: float
    instances: int
    cores: int = 1
    processors: int = 0
    costs: Sequence[float] = EQUAL


@dataclass(frozen=True)
class Asked:
    """What the user asked for, by options (None: not given) and in the file `user_conf`.

    `settings` are those that the file makes for the model and scenario, by key. A cure changes
    what was given, where it was given.
    """

    count: int | None = None
    time_s: float | None = None
    qps: float | None = None
    max_latency_ms: float | None = None
    user_conf: str = "user.conf"
    settings: Mapping[str, float] = field(default_factory=dict)


def explain(
    result: LoadgenResult,
    asked: Asked | None = None,
    served: Served | None = None,
    spoiled: Sequence[tuple[str, str]] = (),
) -> list[tuple[str, str]]:
    """Return (reason, cure) for every condition that an INVALID test missed.

    `spoiled` are reasons for which its figures do not count, whatever LoadGen says of them, with
    their cures. They come first, and what LoadGen missed is then no ground for a cure of its own.
    """
    missed = _missed(result, asked or Asked(), served) if result.valid is False else []
    if not spoiled:
        return missed
    first = "see above: what is measured in such a test says nothing"
    return [*spoiled, *((reason, first) for reason, _ in missed)]


def _missed(result: LoadgenResult, asked: Asked, served: Served | None) -> list[tuple[str, str]]:
    pairs = []
    if result.perf_constraints_met is False:
        pairs.append((_late(result), _less_late(result, asked, served)))
    if result.fields.get("effective_performance_issue_unique"):
        # A compliance test's half, which its other half is held against.
        short = "every sample once is too short for a VALID test"
        return [*pairs, (short, "none is needed: it is compared, not judged by itself")]
    if result.min_duration_met is False:
        duration_s = _number(result, "effective_min_duration_ms") / 1e3
        pairs.append(
            (
                f"the test took less than its minimum of {duration_s:g} s",
                _lengthen(result, asked, duration_s),
            )
        )
    if result.min_queries_met is False:
        pairs.append(_too_few_queries(result, asked))
    if result.early_stopping_met is False:
        text = " ".join(
            str(result.fields.get("early_stopping_result", "")).replace("*", " ").split()
        )
        pairs.append(
            (
                f"too few queries for the confidence MLPerf asks for: {text}",
                _more_confidence(result, asked),
            )
        )
    return pairs


def change_rate(asked: Asked, verb: str, old: float, new: float) -> str:
    """Say how the target rate is changed where the user set it; `verb` is raise or lower."""
    if asked.qps is not None:
        return f"{verb} --qps from {asked.qps:g} to about {new:g}"
    if "target_qps" in asked.settings:
        had = asked.settings["target_qps"]
        return f"{verb} target_qps from {had:g} to about {new:g} in {asked.user_conf}"
    return f"give --qps {new:g} (it was {old:g})"


def _late(result: LoadgenResult) -> str:
    percentile = 100 * _percentile(result)
    reached = result.latencies_ns.get(f"p{percentile:g}")
    shown = f" ({reached / 1e6:.3g} ms)" if reached is not None else ""
    limit_ms = _number(result, "effective_target_latency_ns") / 1e6
    return (
        f"the {percentile:g}th percentile of latency{shown} is above the limit of {limit_ms:g} ms"
    )


def _less_late(result: LoadgenResult, asked: Asked, served: Served | None) -> str:
    """A rate that holds the limit, or what else it takes where none would."""
    limit_s = _number(result, "effective_target_latency_ns") / 1e9
    alone_s = _lone_sample_s(result, served, limit_s)
    if alone_s is not None:
        more = math.ceil(alone_s / (LIMIT_SHARE * limit_s)) if limit_s else 2
        lone = f"no rate would do: a lone sample takes {1e3 * alone_s:.3g} ms"
        return f"{lone}; {_wider(max(more, 2), alone_s, asked, served)}"
    qps = holding_qps(result, served)
    if not qps:
        rate = "--qps" if asked.qps is not None else "target_qps (--qps)"
        return f"lower {rate}"
    target = _number(result, "effective_target_qps")
    return (
        f"{change_rate(asked, 'lower', target, _down(qps))}; "
        "loadrun find-qps finds the highest that holds"
    )


def _wider(times: int, alone_s: float, asked: Asked, served: Served | None) -> str:
    """Instances of more processors where there are some to be had, else another limit."""
    limit_ms = _up(1e3 * alone_s / LIMIT_SHARE)
    limit = f"--max-latency {limit_ms:g} would do (not official)"
    if asked.max_latency_ms is not None:
        limit = f"raise --max-latency from {asked.max_latency_ms:g} to {limit_ms:g}"
    if served is None or not served.processors:
        return (
            f"give each instance about {times} times the processors (fewer --instances on the same"
            f" --cores), or {limit}"
        )
    wanted = times * served.cores
    if wanted > served.processors:
        return (
            f"{limit}: an instance would need about {wanted} processors, and {served.processors}"
            " can be used"
        )
    instances = max(served.processors // wanted, 1)
    return (
        f"give each instance about {times} times the processors (--instances {instances} --cores"
        f" {instances * wanted}), or {limit}"
    )


def holding_qps(result: LoadgenResult, served: Served | None = None) -> float | None:
    """Return a Server rate (queries/s) that should hold the latency limit after this run did not.

    Below what was asked for and completed, and no more than queueing theory gives `served`. None
    where the log names no rate.
    """
    target = _number(result, "effective_target_qps")
    completed = _number(result, "result_completed_samples_per_sec")
    scheduled = _number(result, "result_scheduled_samples_per_sec")
    loads = [_SAFE * target] if target else []
    if completed and completed < _OVERLOADED * scheduled:
        loads.append(_SAFE * completed)
    limit_s = _number(result, "effective_target_latency_ns") / 1e9
    if served is not None and served.rate > 0 and limit_s:
        percentile = _percentile(result)
        loads.append(server_qps(served.rate, served.instances, limit_s, percentile, served.costs))
    return min(loads, default=None)


def _lone_sample_s(result: LoadgenResult, served: Served | None, limit_s: float) -> float | None:
    """How long a sample takes that waits for none before it, where that alone breaks the limit."""
    costs = EQUAL if served is None else served.costs
    cost = at_share(costs, _percentile(result))
    quickest_s = result.latencies_ns.get("min", 0) / 1e9
    if quickest_s > limit_s:
        # The quickest sample is one of the cheapest.
        return quickest_s * (cost / min(costs))
    if served is None or served.rate <= 0:
        return None
    if fits_limit(served.rate, served.instances, limit_s, cost):
        return None
    return service_time_s(served.rate, served.instances, cost)


def _lengthen(result: LoadgenResult, asked: Asked, duration_s: float) -> str:
    """What lets a test take its minimum duration."""
    count, took_s = asked.count, _took_s(result)
    if count is not None:
        lower = "lower --time" if asked.time_s is not None else "give a --time that is shorter"
        if not took_s:
            return f"raise --count or {lower}: the test ended after --count {count}"
        enough = _up(_LONGER * count * duration_s / took_s)
        if asked.time_s is not None:
            lower = f"lower --time from {asked.time_s:g} to {_down(took_s):g}"
        return (
            f"raise --count from {count} to {enough:g}, or {lower}: the test ended after"
            f" --count {count}"
        )
    scenario = SCENARIOS[result.scenario]
    if scenario.at_once:
        rate = _number(result, "result_samples_per_second")
        target = _number(result, "effective_target_qps")
        more = "LoadGen issues min_duration * target_qps samples"
        if rate:
            return f"{change_rate(asked, 'raise', target, _up(rate))}: {more}"
        return f"raise {_where_rate(asked)}: {more}"
    bound = _bound(result, asked, lambda: _up(_LONGER * _queries_in(result, duration_s)))
    if bound is not None:
        return bound
    if scenario.scheduled:
        return "run again: nothing was set that ends it early; mlperf_log_detail.txt says why"
    return _expect_less(result, asked)


def _queries_in(result: LoadgenResult, seconds: float) -> float:
    """Queries of a test of that length, by this one's rates and latencies."""
    if SCENARIOS[result.scenario].scheduled:
        return seconds * _number(result, "effective_target_qps")
    mean_s = result.latencies_ns.get("mean", 0) / 1e9
    return seconds / mean_s if mean_s > 0 else 0.0


def _where_rate(asked: Asked) -> str:
    if asked.qps is None and "target_qps" in asked.settings:
        return f"target_qps in {asked.user_conf}"
    return "--qps (target_qps)"


def _bound(result: LoadgenResult, asked: Asked, queries: Callable[[], float]) -> str | None:
    """How to raise the bounds that ended the test before it had `queries`; None: none did."""
    most = _number(result, "effective_max_query_count")
    longest_s = _number(result, "effective_max_duration_ms") / 1e3
    issued, took_s = _number(result, "result_query_count"), _took_s(result)
    cures = []
    needed = queries()
    if most and (not issued or issued >= most) and (not needed or needed > most):
        to = f" to {needed:.0f}" if needed else ""
        cures.append(f"raise max_query_count from {most:g}{to}")
    if longest_s:
        rate = issued / took_s if took_s else 0.0
        enough_s = _up(_LONGER * needed / rate) if needed and rate else 0.0
        if enough_s > longest_s and took_s and took_s > _SAFE * longest_s:
            cures.append(f"raise max_duration from {longest_s:g} s to {enough_s:g} s")
    if not cures:
        return None
    return f"{' and '.join(cures)} in {asked.user_conf} (0: no bound)"


def _expect_less(result: LoadgenResult, asked: Asked) -> str:
    """Have LoadGen make more queries, whose number it computes from the expected latency."""
    mean_ms = result.latencies_ns.get("mean", 0) / 1e6
    target = _number(result, "effective_target_qps")
    had_ms = 1e3 / target if target else 0.0
    new_ms = _down(mean_ms)
    ran_out = f"LoadGen ran out of queries after {result.fields.get('result_query_count', 'few')}"
    if asked.max_latency_ms is not None:
        return f"lower --max-latency from {asked.max_latency_ms:g} to {new_ms:g}: {ran_out}"
    if asked.qps is not None:
        qps = _up(1e3 / new_ms) if new_ms else 0.0
        return f"raise --qps from {asked.qps:g} to {qps:g}, or leave it out: {ran_out}"
    if "target_latency" in asked.settings:
        had_ms = asked.settings["target_latency"]
        return (
            f"lower target_latency from {had_ms:g} to {new_ms:g} in {asked.user_conf}, or take the"
            f" line out: {ran_out}"
        )
    expected = f" ({had_ms:.3g} ms was expected after the warm-up)" if had_ms else ""
    return f"give --max-latency {new_ms:g}{expected}: {ran_out}"


def _too_few_queries(result: LoadgenResult, asked: Asked) -> tuple[str, str]:
    wanted = result.fields.get("effective_min_query_count")
    issued = result.fields.get("result_query_count")
    reason = f"{issued} queries were issued, fewer than the minimum of {wanted}"
    needed = wanted if isinstance(wanted, int) else 0
    bound = _bound(result, asked, lambda: needed)
    return reason, bound or (
        "run again: nothing was set that ends it early; mlperf_log_detail.txt says why LoadGen"
        " stopped"
    )


def _more_confidence(result: LoadgenResult, asked: Asked) -> str:
    """How many queries would do, and how long they take."""
    needed = queries_needed(result)
    if SCENARIOS[result.scenario].scheduled and result.perf_constraints_met is False:
        late = result.fields.get("result_overlatency_query_count", "many")
        issued = result.fields.get("result_query_count", "all")
        return (
            f"first a rate that holds the limit: with {late} of {issued} queries late no length"
            f" would do; with none late {_enough_on_time(_percentile(result))} queries are enough"
        )
    asked_s = _number(result, "effective_min_duration_ms") / 1e3
    if needed is None:
        if asked.count is not None:
            return f"run longer: raise --count above {asked.count}"
        return f"run longer: --time above {asked_s:g}" if asked_s else "run longer: give --time"
    if asked.count is not None:
        return f"run longer (--count): raise it from {asked.count} to {_up(needed):g}"
    took_s, issued = _took_s(result), _number(result, "result_query_count")
    if bound := _bound(result, asked, lambda: needed):
        return f"{bound}: {needed} queries are needed, {issued:g} were issued"
    if not issued or not (took_s or asked_s):
        return f"run longer (--time): {needed} queries are needed"
    if result.min_duration_met is False and not SCENARIOS[result.scenario].scheduled:
        return f"{_expect_less(result, asked)}; {needed} queries are needed"
    # A test never ends before the time that was asked for: only a longer one has more queries.
    seconds = _up(_LONGER * needed / issued * max(took_s or 0.0, asked_s))
    return f"run longer (--time {seconds:g}): {needed} queries are needed, {issued:g} were issued"


def queries_needed(result: LoadgenResult) -> int | None:
    """Return how many queries early stopping wants in total; None where nothing is known.

    Of LoadGen's own number and the one at which the share of late queries of this run would be
    proof enough, the larger: LoadGen's assumes that none of the others is late.
    """
    text = str(result.fields.get("early_stopping_result", ""))
    text = " ".join(text.replace("*", " ").split())
    issued = int(_number(result, "result_query_count"))
    more, enough = _MORE_QUERIES.search(text), _ENOUGH_QUERIES.search(text)
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
    # A multiple must not grow by the error of a division.
    steps = whole(round(value / step, 6))
    return float(round(steps * step, 9))
