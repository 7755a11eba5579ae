"""Every condition that an INVALID test misses comes with the setting that cures it, and its value.

The fields are those of real runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadrun.capacity import server_qps
from loadrun.logs import LoadgenResult
from loadrun.verdict import Asked, Served, explain, holding_qps, queries_needed

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


CONF = "/here/user.conf"


def cure(result: LoadgenResult, asked: Asked | None = None, served: Served | None = None) -> str:
    [(_, advice)] = explain(result, asked, served)
    return advice


def conf(**settings: float) -> Asked:
    """What a user.conf sets."""
    return Asked(user_conf=CONF, settings=settings)


def test_a_valid_test_needs_no_cure() -> None:
    result = server(perf_constraints_met=False)
    assert explain(LoadgenResult(**{**vars(result), "valid": True})) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(), "give --qps 360 (it was 400); "),
        (Asked(qps=400), "lower --qps from 400 to about 360; "),
        (conf(target_qps=400), f"lower target_qps from 400 to about 360 in {CONF}; "),
    ],
    ids=["measured", "option", "user.conf"],
)
def test_a_late_server_is_advised_a_rate_below_the_one_that_failed(
    asked: Asked, expected: str
) -> None:
    result = server(perf_constraints_met=False)
    assert holding_qps(result) == pytest.approx(360)
    [(reason, cure)] = explain(result, asked)
    assert reason == "the 99th percentile of latency (12 ms) is above the limit of 10 ms"
    assert cure == f"{expected}loadrun find-qps finds the highest that holds"


def test_an_overloaded_server_is_advised_less_than_it_completed() -> None:
    result = server(perf_constraints_met=False, result_completed_samples_per_sec=200.0)
    assert holding_qps(result) == pytest.approx(180)


def test_queueing_theory_bounds_the_rate() -> None:
    served = Served(rate=400.0, instances=8)
    result = server(perf_constraints_met=False, effective_target_latency_ns=100_000_000)
    expected = server_qps(400.0, 8, 0.1, 0.99)
    assert expected < 360
    assert holding_qps(result, served) == expected


def test_costs_bound_the_rate_and_say_what_a_long_sample_takes() -> None:
    costs = [*[0.8] * 19, 4.8]
    serving = Served(rate=400.0, instances=8, costs=costs)
    result = server(perf_constraints_met=False, effective_target_latency_ns=200_000_000)
    assert holding_qps(result, serving) == server_qps(400.0, 8, 0.2, 0.99, costs)
    # A mean sample takes 24.5 ms, a long one 115.7 ms.
    result = server(perf_constraints_met=False, effective_target_latency_ns=100_000_000)
    told = cure(result, served=serving)
    assert told.startswith("no rate would do: a lone sample takes 116 ms; ")
    # The quickest one is cheap.
    result = server(perf_constraints_met=False, latencies_ms={"min": 25.0, "p99": 40.0})
    told = cure(result, served=replace(serving, rate=40.0))
    assert told.startswith("no rate would do: a lone sample takes 150 ms; ")


@pytest.mark.parametrize(
    ("latencies", "served", "times"),
    [
        ({"min": 25.0, "p99": 40.0}, None, 4),
        ({"min": 4.9, "p99": 40.0}, Served(rate=100.0, instances=2), 4),
    ],
    ids=["the quickest is late", "by the rate at warm-up"],
)
def test_no_rate_helps_where_a_lone_sample_is_late(
    latencies: dict[str, float], served: Served | None, times: int
) -> None:
    advice = cure(server(perf_constraints_met=False, latencies_ms=latencies), served=served)
    assert advice.startswith("no rate would do: a lone sample takes ")
    assert f"about {times} times the processors (fewer --instances on the same --cores)" in advice


@pytest.mark.parametrize(
    ("served", "asked", "expected"),
    [
        (Served(400.0, 8, 1, 8), Asked(), "(--instances 2 --cores 8), or --max-latency 31.3"),
        (Served(400.0, 8, 2, 20), Asked(), "(--instances 2 --cores 16), or --max-latency"),
        (
            Served(50.0, 1, 2, 2),
            Asked(max_latency_ms=10),
            "; raise --max-latency from 10 to 31.3: an instance would need about 8 processors, and"
            " 2 can be used",
        ),
    ],
    ids=["fewer instances", "more cores", "the machine has no more"],
)
def test_more_processors_are_advised_only_where_there_are_some(
    served: Served, asked: Asked, expected: str
) -> None:
    result = server(perf_constraints_met=False, latencies_ms={"min": 25.0, "p99": 40.0})
    assert expected in cure(result, asked, served)


def test_a_log_without_rates_still_gets_a_cure() -> None:
    advice = cure(invalid("Server", perf_constraints_met=False))
    assert advice == "lower target_qps (--qps)"


def test_offline_too_short_is_advised_the_rate_it_had() -> None:
    result = invalid(
        "Offline",
        min_duration_met=False,
        effective_min_duration_ms=5000,
        effective_target_qps=100,
        result_samples_per_second=452.24,
    )
    [(reason, advice)] = explain(result)
    assert reason == "the test took less than its minimum of 5 s"
    assert advice.startswith("give --qps 453 (it was 100): ")
    assert cure(result, Asked(qps=100)).startswith("raise --qps from 100 to about 453: ")
    advice = cure(result, conf(target_qps=100))
    assert advice.startswith(f"raise target_qps from 100 to about 453 in {CONF}: ")


def test_a_count_too_small_is_advised_the_one_that_lasts() -> None:
    result = invalid(
        "Offline",
        min_duration_met=False,
        effective_min_duration_ms=5000,
        result_query_count=1,
        generated_samples_per_query=300,
        result_samples_per_second=300.0,
    )
    advice = cure(result, Asked(count=300, time_s=5.0))
    assert advice.startswith("raise --count from 300 to 1650, or lower --time from 5 to 1:")


def test_a_server_that_was_stopped_early_names_the_bound_that_was_set() -> None:
    short = {"min_duration_met": False, "effective_min_duration_ms": 60_000}
    advice = cure(server(effective_max_query_count=4000, **short), conf(max_query_count=4000))
    assert advice == f"raise max_query_count from 4000 to 26400 in {CONF} (0: no bound)"
    advice = cure(server(effective_max_duration_ms=10_000, **short), conf(max_duration=10_000))
    assert advice == f"raise max_duration from 10 s to 72.6 s in {CONF} (0: no bound)"
    assert cure(server(**short)).startswith("run again: nothing was set that ends it early")


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream"])
def test_streams_too_short_are_advised_the_latency_to_expect(scenario: str) -> None:
    result = invalid(
        scenario,
        {"mean": 4.909086},
        min_duration_met=False,
        effective_min_duration_ms=3000,
        effective_target_qps=2,
        result_query_count=100,
    )
    ran_out = "LoadGen ran out of queries after 100"
    advice = cure(result)
    assert advice == f"give --max-latency 4.9 (500 ms was expected after the warm-up): {ran_out}"
    advice = cure(result, Asked(max_latency_ms=500))
    assert advice == f"lower --max-latency from 500 to 4.9: {ran_out}"
    advice = cure(result, Asked(qps=2))
    assert advice == f"raise --qps from 2 to 205, or leave it out: {ran_out}"
    advice = cure(result, conf(target_latency=500))
    assert advice.startswith(
        f"lower target_latency from 500 to 4.9 in {CONF}, or take the line out"
    )
    bounded = LoadgenResult(
        **{**vars(result), "fields": {**result.fields, "effective_max_query_count": 100}}
    )
    advice = cure(bounded, conf(max_query_count=100))
    assert advice == f"raise max_query_count from 100 to 673 in {CONF} (0: no bound)"


def test_too_few_queries_name_the_bound_that_stopped_them() -> None:
    fields = {"effective_min_query_count": 8000, "min_queries_met": False}
    [(reason, advice)] = explain(server(effective_max_query_count=4000, **fields))
    assert reason == "4000 queries were issued, fewer than the minimum of 8000"
    assert advice == "raise max_query_count from 4000 to 8000 in user.conf (0: no bound)"
    # 4000 queries at 400 a second took 10 s.
    [(_, advice)] = explain(server(effective_max_duration_ms=10_000, **fields))
    assert advice == "raise max_duration from 10 s to 22 s in user.conf (0: no bound)"
    [(_, advice)] = explain(server(**fields))
    assert advice.startswith("run again: nothing was set that ends it early")


def test_early_stopping_names_how_many_queries_and_how_long() -> None:
    result = server(
        early_stopping_met=False,
        result_query_count=40,
        result_overlatency_query_count=0,
        early_stopping_result=RAN_OUT.format(40, 419),
    )
    assert queries_needed(result) == 459
    # 40 queries took 0.1 s at 400 a second; and a tenth more to be sure.
    assert cure(result) == "run longer (--time 1.27): 459 queries are needed, 40 were issued"
    advice = cure(result, Asked(count=40))
    assert advice == "run longer (--count): raise it from 40 to 459"


def test_a_longer_test_is_longer_than_what_was_asked_for() -> None:
    """Rates and latencies of so few queries tell little of how long the test took."""
    few = {
        "early_stopping_met": False,
        "result_query_count": 40,
        "result_overlatency_query_count": 0,
        "early_stopping_result": RAN_OUT.format(40, 419),
        "effective_min_duration_ms": 3000,
    }
    advice = cure(server(**few), Asked(time_s=3.0))
    # 1.1 * 459 / 40 * 3 s
    assert advice == "run longer (--time 37.9): 459 queries are needed, 40 were issued"
    advice = cure(server(effective_max_query_count=40, **few), conf(max_query_count=40))
    assert advice == (
        f"raise max_query_count from 40 to 459 in {CONF} (0: no bound): 459 queries are needed, 40"
        " were issued"
    )


def test_every_sample_once_is_short_by_rights() -> None:
    unique: dict[str, Any] = {"effective_performance_issue_unique": True}
    result = invalid("Offline", min_duration_met=False, min_queries_met=False, **unique)
    [(reason, advice)] = explain(result)
    assert reason == "every sample once is too short for a VALID test"
    assert "none is needed" in advice
    late = server(perf_constraints_met=False, min_queries_met=False, **unique)
    assert [reason for reason, _ in explain(late)][1:] == [reason]


def test_a_spoiled_test_has_no_cure_of_its_figures() -> None:
    spoiled = [("the clock was set", "run again")]
    reasons = explain(server(perf_constraints_met=False), Asked(qps=400), None, spoiled)
    assert reasons[0] == spoiled[0]
    (missed, advice) = reasons[1]
    assert missed.startswith("the 99th percentile")
    assert "--qps" not in advice
    valid = LoadgenResult(**{**vars(server()), "valid": True})
    assert explain(valid, spoiled=spoiled) == spoiled


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
    _, (reason, advice) = explain(result)
    assert "290194 more queries" in reason
    assert advice == (
        "first a rate that holds the limit: with 2813 of 4000 queries late no length would do; with"
        " none late 459 queries are enough"
    )


@pytest.mark.parametrize(
    ("scenario", "percentile", "enough"), [("SingleStream", 0.9, 64), ("MultiStream", 0.99, 662)]
)
def test_streams_get_loadgens_number(scenario: str, percentile: float, enough: int) -> None:
    result = invalid(
        scenario,
        {"mean": 5.0},
        early_stopping_met=False,
        result_query_count=30,
        effective_target_latency_percentile=percentile,
        early_stopping_result=f" * Only processed 30 queries.  * Need to process at least {enough}"
        " queries for early stopping. ",
    )
    assert cure(result, Asked(count=30)) == f"run longer (--count): raise it from 30 to {enough}"
    assert f"{enough} queries are needed, 30 were issued" in cure(result)


def test_an_unknown_wording_of_loadgen_still_gets_a_cure() -> None:
    result = server(early_stopping_met=False, early_stopping_result="no")
    assert cure(result) == "run longer: give --time"
    result = server(
        early_stopping_result="no", effective_min_duration_ms=3e3, early_stopping_met=False
    )
    assert cure(result) == "run longer: --time above 3"
    assert cure(result, Asked(count=30)) == "run longer: raise --count above 30"
