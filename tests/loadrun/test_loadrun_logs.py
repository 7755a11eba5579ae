"""Reading LoadGen's logs, as real runs leave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loadrun_harness import MakeRun, make_config, make_run

from loadrun.config import Overrides
from loadrun.logs import LogError, Metric, parse_result
from loadrun.verdict import Asked, explain

__all__ = ["make_config", "make_run"]  # fixtures of this module


def write_log(directory: Path, **fields: object) -> Path:
    lines = [
        ":::MLLOG "
        + json.dumps({"key": key, "value": value, "metadata": {"is_error": key == "error_runtime"}})
        for key, value in fields.items()
    ]
    (directory / "mlperf_log_detail.txt").write_text("\n".join(lines) + "\n")
    return directory


def test_offline_too_short(make_run: MakeRun) -> None:
    # 400 samples/s expected, far more served.
    run = make_run(overrides=Overrides(min_duration_s=1, min_query_count=1, target_qps=400))
    report = run.run()
    result = parse_result(run.config.log_dir)
    assert result.valid is False
    assert (result.scenario, result.mode) == ("Offline", "PerformanceOnly")
    assert result.metric is not None
    assert result.metric.value == report["loadgen"]["metric"]["value"] > 400
    assert result.min_duration_met is False
    assert result.min_queries_met is True
    assert len(result.reasons) == 1
    assert result.reasons[0].startswith("Increase expected QPS")
    [(reason, cure)] = explain(result)
    assert reason == "the test took less than its minimum of 1 s"
    assert "--qps" in cure
    summary = (Path(run.config.log_dir) / "mlperf_log_summary.txt").read_text()
    assert "Result is : INVALID" in summary
    assert f"99.00 percentile latency (ns)   : {result.latencies_ns['p99']}" in summary


def test_server_too_slow(make_run: MakeRun) -> None:
    overrides = Overrides(min_duration_s=1, min_query_count=1, target_qps=100, target_latency_ms=10)
    run = make_run(scenario="Server", overrides=overrides, batch_size=1)
    run.run("--service-s", "0.015")
    result = parse_result(run.config.log_dir)
    assert result.valid is False
    assert result.perf_constraints_met is False
    reasons = [reason for reason, _ in explain(result)]
    assert reasons[0].startswith("the 99th percentile of latency (")
    assert reasons[0].endswith("above the limit of 10 ms")
    assert any("too few queries for the confidence" in reason for reason in reasons)
    assert set(result.latencies_ns) == {
        *("min", "mean", "max", "p50", "p90", "p95", "p97", "p99", "p99.9"),
    }


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server"])
def test_a_count_of_queries_is_kept_without_an_error(make_run: MakeRun, scenario: str) -> None:
    # However busy the machine is, none of Server's is late.
    limit_ms = 10_000 if scenario == "Server" else None
    overrides = Overrides(
        min_duration_s=0,
        min_query_count=30,
        max_query_count=0,
        target_qps=300,
        target_latency_ms=limit_ms,
    )
    run = make_run(scenario=scenario, overrides=overrides, instances=1)
    run.run()
    result = parse_result(run.config.log_dir)
    assert result.fields["result_query_count"] == 30
    assert result.errors == []
    assert result.min_duration_met is True
    # 30 queries are too few for any of the percentiles.
    [cure] = [cure for reason, cure in explain(result, Asked(count=30)) if "confidence" in reason]
    assert "(--count)" in cure
    assert "--time" not in cure


def test_a_count_too_small_for_the_time(make_run: MakeRun) -> None:
    overrides = Overrides(min_duration_s=5, min_query_count=30, max_query_count=30, target_qps=300)
    run = make_run(overrides=overrides)
    run.run()
    result = parse_result(run.config.log_dir)
    [(reason, cure)] = explain(result, Asked(count=30))
    assert reason == "the test took less than its minimum of 5 s"
    assert cure.startswith("raise --count from 30 to ")
    assert cure.endswith(": the test ended after --count 30")


def test_single_stream_metric_prefers_early_stopping(tmp_path: Path) -> None:
    fields = {
        "effective_scenario": "SingleStream",
        "effective_test_mode": "PerformanceOnly",
        "result_validity": "VALID",
        "early_stopping_latency_ss": 21_000_000,
        "result_90.00_percentile_latency_ns": 20_000_000,
    }
    result = parse_result(write_log(tmp_path, **fields))
    assert result.metric == Metric("90th percentile latency", 21.0, "ms")
    assert result.latencies_ns == {"p90": 20_000_000}
    fields["early_stopping_latency_ss"] = 0
    result = parse_result(write_log(tmp_path, **fields))
    assert result.metric is not None
    assert result.metric.value == 20.0
    assert explain(result) == []


def test_errors_are_collected(tmp_path: Path) -> None:
    fields = {
        "requested_scenario": "Offline",
        "requested_test_mode": "AccuracyOnly",
        "error_runtime": "Ending early",
    }
    result = parse_result(write_log(tmp_path, **fields))
    assert result.errors == ["error_runtime: Ending early"]
    assert (result.valid, result.metric) == (None, None)


def test_broken_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"cannot read .*mlperf_log_detail\.txt"):
        parse_result(tmp_path)
    with pytest.raises(LogError, match="no test in this log"):
        parse_result(write_log(tmp_path, test_datetime="now"))
    (tmp_path / "mlperf_log_detail.txt").write_text(':::MLLOG {"key": "a", \n')
    with pytest.raises(LogError, match=r"mlperf_log_detail\.txt:1: not a line"):
        parse_result(tmp_path)
