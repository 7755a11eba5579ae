"""Every condition that an INVALID test misses comes with the setting that cures it, and its value.

The fields are those of real runs.
"""

from __future__ import annotations

from typing import Any

import pytest

from loadrun.capacity import server_qps
from loadrun.logs import LoadgenResult
from loadrun.verdict import Serving, explain, holding_qps, queries_needed

RAN_OUT = " * Run unsuccessful.  * Processed {} queries.  * Would need to run at least {} more queries,  with the run being successful if every additional  query were under latency. "  # noqa: E501


def invalid(
    scenario: str, latencies_ms: dict[str, float] | None = None, **changes: Any
) -> LoadgenResult:
    verdicts = ("perf_constraints_met", "min_duration_met", "min_queries_met", "early_stopping_met")
    met: dict[str, Any] = {name: changes.pop(name, True) for name in verdicts}
    return LoadgenResult(
        valid=False,
        scenario=scenario,
        mode="PerformanceOnly",
        metric=None,
        latencies_ns={name: round(ms * 1e6) for name, ms in (latencies_ms or {}).items()},
        reasons=[],
        errors=[],
        warnings=[],
        fields=changes,
        **met,
    )


def server(**changes: Any) -> LoadgenResult:
    latencies = changes.pop("latencies_ms", {"min": 4.9, "p50": 6.0, "p99": 12.0})
    fields = {
        "effective_target_qps": 400,
        "effective_target_latency_ns": 10_000_000,
        "effective_target_latency_percentile": 0.99,
        "result_query_count": 4000,
        "result_scheduled_samples_per_sec": 401.0,
        "result_completed_samples_per_sec": 400.0,
        **changes,
    }
    return invalid("Server", latencies, **fields)


def cure(result: LoadgenResult, count: int | None = None, serving: Serving | None = None) -> str:
    [(_, told)] = explain(result, count, serving)
    return told


def test_a_valid_test_needs_no_cure() -> None:
    result = server(perf_constraints_met=False)
    assert explain(LoadgenResult(**{**vars(result), "valid": True})) == []


def test_a_late_server_is_told_a_rate_below_the_one_that_failed() -> None:
    result = server(perf_constraints_met=False)
    assert holding_qps(result) == pytest.approx(360)
    [(reason, told)] = explain(result)
    assert reason == "the 99th percentile of latency (12 ms) is above the limit of 10 ms"
    assert told.startswith("lower --qps (target_qps) from 400 to about 360;")
    assert "loadrun find-qps" in told


def test_an_overloaded_server_is_told_less_than_it_completed() -> None:
    result = server(perf_constraints_met=False, result_completed_samples_per_sec=200.0)
    assert holding_qps(result) == pytest.approx(180)


def test_queueing_theory_bounds_the_rate() -> None:
    serving = Serving(rate=400.0, instances=8)
    result = server(perf_constraints_met=False, effective_target_latency_ns=100_000_000)
    expected = server_qps(400.0, 8, 0.1, 0.99)
    assert expected < 360
    assert holding_qps(result, serving) == expected


@pytest.mark.parametrize(
    ("latencies", "serving", "times"),
    [
        ({"min": 25.0, "p99": 40.0}, None, 4),
        ({"min": 4.9, "p99": 40.0}, Serving(rate=100.0, instances=2), 4),
    ],
    ids=["the quickest is late", "by the rate at warm-up"],
)
def test_no_rate_helps_where_a_lone_sample_is_late(
    latencies: dict[str, float], serving: Serving | None, times: int
) -> None:
    told = cure(server(perf_constraints_met=False, latencies_ms=latencies), serving=serving)
    assert told.startswith("no --qps would do: a lone sample takes ")
    assert f"about {times} times the processors" in told


def test_a_log_without_rates_still_gets_a_cure() -> None:
    told = cure(invalid("Server", perf_constraints_met=False))
    assert told == "lower --qps (target_qps), or give each instance more processors"


def test_offline_too_short_is_told_the_rate_it_had() -> None:
    result = invalid(
        "Offline",
        min_duration_met=False,
        effective_min_duration_ms=5000,
        effective_target_qps=100,
        result_samples_per_second=452.24,
    )
    [(reason, told)] = explain(result)
    assert reason == "the test took less than its minimum of 5 s"
    assert told.startswith("raise --qps (target_qps) from 100 to 453, or leave it out")


def test_a_count_too_small_is_told_the_one_that_lasts() -> None:
    result = invalid(
        "Offline",
        min_duration_met=False,
        effective_min_duration_ms=5000,
        result_query_count=1,
        generated_samples_per_query=300,
        result_samples_per_second=300.0,
    )
    assert cure(result, 300).startswith("raise --count from 300 to 1650, or lower --time to 1:")


def test_a_server_that_was_stopped_early_is_told_the_bounds() -> None:
    result = server(min_duration_met=False, effective_min_duration_ms=60_000)
    told = cure(result)
    assert "raise max_query_count to 24000 and max_duration above 60 s" in told


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream"])
def test_streams_too_short_are_told_the_latency_to_expect(scenario: str) -> None:
    result = invalid(
        scenario,
        {"mean": 4.909086},
        min_duration_met=False,
        effective_min_duration_ms=3000,
        effective_target_qps=2,
        result_query_count=100,
    )
    told = cure(result)
    assert told.startswith("lower the expected latency from 500 ms to 4.9 ms (--max-latency;")
    assert told.endswith("ran out of queries after 100")


def test_too_few_queries_are_told_the_bound_that_stopped_them() -> None:
    fields = {"effective_min_query_count": 8000, "min_queries_met": False}
    [(reason, told)] = explain(server(effective_max_query_count=4000, **fields))
    assert reason == "4000 queries were issued, fewer than the minimum of 8000"
    assert told == "raise max_query_count from 4000 to 8000 in user.conf (0: no bound)"
    # 4000 queries at 400 a second took 10 s.
    [(_, told)] = explain(server(effective_max_duration_ms=10_000, **fields))
    assert told == "raise max_duration from 10 s to 22 s in user.conf (0: no bound)"
    [(_, told)] = explain(server(**fields))
    assert told.startswith("raise max_query_count or max_duration in user.conf")


def test_early_stopping_is_told_how_many_queries_and_how_long() -> None:
    result = server(
        early_stopping_met=False,
        result_query_count=40,
        result_overlatency_query_count=0,
        early_stopping_result=RAN_OUT.format(40, 419),
    )
    assert queries_needed(result) == 459
    # 459 queries take 1.15 s at 400 a second, and a tenth more to be sure.
    assert cure(result) == "run longer (--time 1.27): 459 queries are needed, 40 were issued"
    assert cure(result, 40) == "run longer (--count): raise it from 40 to 459"


def test_a_share_of_late_queries_takes_more_than_loadgen_says() -> None:
    result = server(
        early_stopping_met=False,
        result_query_count=1000,
        result_overlatency_query_count=5,
        early_stopping_result=RAN_OUT.format(1000, 300),
    )
    # 2.326^2 * 0.99 * 0.01 / (0.01 - 0.005)^2
    assert queries_needed(result) == 2143


def test_where_many_are_late_no_length_would_do() -> None:
    result = server(
        perf_constraints_met=False,
        early_stopping_met=False,
        result_overlatency_query_count=2813,
        early_stopping_result=RAN_OUT.format(4000, 290_194),
    )
    _, (reason, told) = explain(result)
    assert "290194 more queries" in reason
    assert told == (
        "lower --qps first: with 2813 of 4000 queries late no length would do; with none late"
        " 459 queries are enough"
    )


@pytest.mark.parametrize(
    ("scenario", "percentile", "enough"), [("SingleStream", 0.9, 64), ("MultiStream", 0.99, 662)]
)
def test_streams_are_told_loadgens_number(scenario: str, percentile: float, enough: int) -> None:
    result = invalid(
        scenario,
        {"mean": 5.0},
        early_stopping_met=False,
        result_query_count=30,
        effective_target_latency_percentile=percentile,
        early_stopping_result=f" * Only processed 30 queries.  * Need to process at least {enough}"
        " queries for early stopping. ",
    )
    assert cure(result, 30) == f"run longer (--count): raise it from 30 to {enough}"
    assert f"{enough} queries are needed, 30 were issued" in cure(result)


def test_an_unknown_wording_of_loadgen_still_gets_a_cure() -> None:
    result = server(early_stopping_met=False, early_stopping_result="no")
    assert cure(result) == "run longer (--time)"
