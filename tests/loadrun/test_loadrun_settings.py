"""LoadGen's settings, built with real LoadGen."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from loadrun_harness import make_config

from base.errors import ConfigError
from loadrun.capacity import server_qps, waiting_tail
from loadrun.config import LoadrunConfig, Overrides
from loadrun.settings import (
    SettingsError,
    apply_measured_rate,
    as_dict,
    build_settings,
    expected_duration_s,
    load_settings,
    offline_samples,
    unofficial,
)

__all__ = ["make_config"]  # fixture of this module
MakeConfig = Callable[..., LoadrunConfig]


def test_mlperf_conf_governs(make_config: MakeConfig) -> None:
    official = {"sample_count": 50_000, "overrides": Overrides()}
    offline = build_settings(make_config(**official), 1000.0)
    assert offline.test.min_duration_ms == 600_000
    assert offline.test.min_query_count == 24_576
    assert offline.performance_sample_count == 1024
    assert unofficial(offline) == []
    server = build_settings(make_config(scenario="Server", **official), 1000.0)
    assert server.latency_limit_s == 0.015
    multi = build_settings(make_config(scenario="MultiStream", **official), 1000.0)
    assert multi.test.multi_stream_samples_per_query == 8
    assert multi.test.min_query_count == 662
    assert multi.latency_limit_s is None
    assert unofficial(server) == unofficial(multi) == []


def test_costs_lower_the_rate_and_say_where_long_samples_are_late(
    make_config: MakeConfig,
) -> None:
    config = make_config(scenario="Server", model="bert", sample_count=10_833, instances=4)
    costs = [*[0.8] * 19, 4.8]
    equal, uneven = load_settings(config), load_settings(config)
    uneven.costs = costs
    for settings in (equal, uneven):
        apply_measured_rate(settings, config, 400.0)
    assert uneven.test.server_target_qps == server_qps(400.0, 4, 0.13, 0.99, costs)
    assert uneven.test.server_target_qps < equal.test.server_target_qps
    assert uneven.notes == []
    apply_measured_rate(uneven, config, 100.0)
    assert uneven.notes[0].startswith("a long sample takes about 231 ms on an instance")
    apply_measured_rate(equal, config, 100.0)
    assert equal.notes == []


def test_mobilenet_has_sensible_settings_without_an_entry(make_config: MakeConfig) -> None:
    change = {"model": "mobilenet", "sample_count": 50_000, "overrides": Overrides()}
    offline = build_settings(make_config(performance_sample_count=2048, **change), 1000.0)
    assert offline.performance_sample_count == 2048
    assert offline.test.min_query_count == 24_576
    assert build_settings(make_config(**change), 1.0).performance_sample_count == 1024
    server = build_settings(make_config(scenario="Server", **change), 1000.0)
    assert server.latency_limit_s == 0.010


@pytest.mark.parametrize(
    ("model", "samples", "least", "count"),
    [
        ("3d-unet", 43, 43, 43),  # its 0 is the whole set, not an unknown model
        ("bert", 10_833, 10_833, 10_833),
        ("rnnt", 2513, 2513, 2513),
        ("dlrm-v2", 330_067, 24_576, 204_800),
        ("dlrm", 330_067, 24_576, 204_800),  # has a performance set there and no least number
    ],
)
def test_every_benchmark_has_its_own_counts(
    make_config: MakeConfig, model: str, samples: int, least: int, count: int
) -> None:
    official = {"model": model, "sample_count": samples, "overrides": Overrides()}
    offline = build_settings(make_config(**official), 1000.0)
    assert offline.test.min_query_count == least
    assert offline.performance_sample_count == count
    assert unofficial(offline) == []
    single = build_settings(make_config(scenario="SingleStream", **official), 1000.0)
    assert single.test.min_query_count == 100
    assert unofficial(single) == []


def test_a_part_of_a_set_that_is_to_be_whole_is_not_official(make_config: MakeConfig) -> None:
    part = build_settings(make_config(model="3d-unet", sample_count=50, overrides=Overrides()), 1.0)
    part.test.performance_sample_count_override = 42
    assert unofficial(part) == ["performance set of 42 samples, below 50"]


def test_a_benchmark_s_own_figures_hold_where_mlperf_conf_has_none(make_config: MakeConfig) -> None:
    own = {
        "model": "ssd-resnet34",
        "sample_count": 5000,
        "performance_sample_count": 64,
        "offline_samples": 20_000,
        "server_latency_ms": 100.0,
        "overrides": Overrides(),
    }
    offline = build_settings(make_config(**own), 1000.0)
    assert (offline.performance_sample_count, offline.test.min_query_count) == (64, 20_000)
    server = build_settings(make_config(scenario="Server", **own), 1000.0)
    assert (server.latency_limit_s, server.test.min_query_count) == (0.1, 100)
    assert unofficial(offline) == unofficial(server) == []
    whole = build_settings(make_config(**{**own, "performance_sample_count": 0}), 1000.0)
    assert whole.performance_sample_count == 5000
    # Where there is one, it governs.
    known = build_settings(make_config(scenario="Server", **{**own, "model": "resnet50"}), 1000.0)
    assert (known.latency_limit_s, known.performance_sample_count) == (0.015, 1024)


def test_whole_sets_are_issued_where_mlperf_conf_says_so(make_config: MakeConfig) -> None:
    volumes = {"model": "3d-unet", "sample_count": 43}
    asked = Overrides(min_duration_s=1.0, min_query_count=44)
    offline = build_settings(make_config(overrides=asked, **volumes), 20.0)
    assert offline_samples(offline.effective) == 86
    assert unofficial(offline) == ["minimum duration 1 s, below 600 s"]
    few = Overrides(min_duration_s=1.0, min_query_count=1)
    fast = build_settings(make_config(overrides=few, **volumes), 5.0)
    assert offline_samples(fast.effective) == 6
    assert "samples are not issued in whole sets" in " ".join(unofficial(fast))


def test_user_conf_sets_what_mlperf_conf_does_not(make_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("mobilenet.*.performance_sample_count_override = 30\n*.*.mode = 1\n")
    settings = build_settings(make_config(model="mobilenet", user_conf=str(path)), 100.0)
    assert settings.performance_sample_count == 30
    assert settings.mode == "PerformanceOnly"


@pytest.mark.parametrize(
    ("scenario", "field", "expected"),
    [
        ("Offline", "offline_expected_qps", 220.0),
        ("SingleStream", "single_stream_expected_latency_ns", 5e6),
        ("MultiStream", "multi_stream_expected_latency_ns", 20e6),
    ],
)
def test_measured_rate_sets_the_expectation(
    make_config: MakeConfig, scenario: str, field: str, expected: float
) -> None:
    settings = build_settings(make_config(scenario=scenario), 200.0)
    assert settings.target_source == "measured"
    assert as_dict(settings.test)[field] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scenario", "overrides", "field", "expected"),
    [
        ("Offline", Overrides(target_qps=7), "offline_expected_qps", 7),
        ("Server", Overrides(target_qps=7), "server_target_qps", 7),
        ("SingleStream", Overrides(target_qps=500), "single_stream_expected_latency_ns", 2e6),
        ("SingleStream", Overrides(target_latency_ms=3), "single_stream_expected_latency_ns", 3e6),
        ("Server", Overrides(target_latency_ms=7.5), "server_target_latency_ns", 7_500_000),
        ("MultiStream", Overrides(samples_per_query=4), "multi_stream_samples_per_query", 4),
        ("Server", Overrides(max_query_count=9), "max_query_count", 9),
        ("Offline", Overrides(min_duration_s=0.25), "min_duration_ms", 250),
    ],
)
def test_overrides_win_over_user_conf(
    make_config: MakeConfig,
    tmp_path: Path,
    scenario: str,
    overrides: Overrides,
    field: str,
    expected: float,
) -> None:
    path = tmp_path / "user.conf"
    path.write_text(
        "*.Offline.target_qps = 1\n*.Server.target_qps = 1\n*.Server.target_latency = 99\n"
        "*.SingleStream.target_latency = 99\n*.MultiStream.samples_per_query = 2\n"
        "*.*.min_duration = 9\n*.*.max_query_count = 1000\n"
    )
    config = make_config(scenario=scenario, overrides=overrides, user_conf=str(path))
    assert as_dict(build_settings(config, 5000.0).test)[field] == expected


def test_no_rate_and_nothing_set(make_config: MakeConfig) -> None:
    with pytest.raises(SettingsError, match="give --qps or set target_qps"):
        build_settings(make_config(), 0.0)
    config = make_config(overrides=Overrides(target_qps=5.0))
    assert expected_duration_s(build_settings(config, 0.0), config, 0.0) is None


@pytest.mark.parametrize(("scenario", "most"), [("Offline", 1e6), ("Server", 2e4)])
def test_an_engine_faster_than_loadrun(make_config: MakeConfig, scenario: str, most: float) -> None:
    config = make_config(scenario=scenario, instances=64)
    settings = build_settings(config, 20e6)
    target = settings.test.offline_expected_qps if scenario == "Offline" else None
    assert (target or settings.test.server_target_qps) == most
    assert any("more than loadrun is expected to carry" in note for note in settings.notes)
    # What a person asks for is theirs.
    asked = make_config(scenario=scenario, overrides=Overrides(target_qps=3e6))
    assert build_settings(asked, 20e6).notes == build_settings(asked, 1e6).notes


def test_bad_user_conf_is_named(make_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("*.Offline.target_qsp = 1\n")
    with pytest.raises(SettingsError, match=r"user\.conf:1: unknown key 'target_qsp'"):
        load_settings(make_config(user_conf=str(path)))
    with pytest.raises(SettingsError, match="FromConfig returned -2"):
        load_settings(make_config(audit_config=str(tmp_path / "none.config")))


def test_small_data_sets_bound_the_performance_set(make_config: MakeConfig) -> None:
    settings = build_settings(make_config(sample_count=650), 100.0)
    assert settings.performance_sample_count == 650
    assert settings.notes == [
        "650 samples are served, fewer than performance_sample_count 1024; all of them are used"
    ]
    assert "performance set of 650 samples, below 1024" in unofficial(settings)


def test_offline_count_bounds_the_samples(make_config: MakeConfig) -> None:
    config = make_config(overrides=Overrides(max_query_count=500, min_duration_s=10))
    settings = build_settings(config, 1000.0)
    assert expected_duration_s(settings, config, 1000.0) == pytest.approx(0.5, rel=0.01)


def test_expected_durations(make_config: MakeConfig) -> None:
    def duration(rate: float, **change: object) -> float:
        config = make_config(**change)
        value = expected_duration_s(build_settings(config, rate), config, rate)
        assert value is not None
        return value

    minute = Overrides(min_duration_s=60, min_query_count=1)
    assert duration(100, overrides=minute) == pytest.approx(60 * 1.21)
    many = Overrides(min_duration_s=60, min_query_count=24_576)
    assert duration(100, overrides=many) == pytest.approx(245.76)
    assert duration(100, overrides=minute, scenario="SingleStream") == pytest.approx(60)
    assert duration(100, overrides=minute, scenario="Server") == pytest.approx(60)
    assert duration(4, overrides=Overrides(), scenario="MultiStream") == pytest.approx(662 * 2)
    assert duration(100, mode="AccuracyOnly", sample_count=650) == pytest.approx(6.5)
    assert duration(100, mode="SubmissionRun", overrides=minute, sample_count=650) == pytest.approx(
        6.5 + 60 * 1.21
    )
    probe = Overrides(min_duration_s=1, min_query_count=1, target_qps=25)
    assert duration(100, scenario="Server", mode="FindPeakPerformance", overrides=probe) == 9


def test_unofficial_reasons(make_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("*.Server.target_latency_percentile = 90\n*.*.max_duration = 5000\n")
    overrides = Overrides(min_duration_s=60, target_latency_ms=100, max_query_count=7)
    config = make_config(
        scenario="Server", user_conf=str(path), overrides=overrides, sample_count=2000
    )
    assert unofficial(build_settings(config, 100.0)) == [
        "minimum duration 60 s, below 600 s",
        "at most 7 queries",
        "at most 5 s",
        "latency limit 100 ms instead of 15 ms",
        "latency percentile 90 instead of 99",
    ]


def test_server_takes_late_queries_together_unless_user_conf_says_no(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(scenario="Server")
    assert build_settings(config, 100.0).test.server_coalesce_queries
    assert not build_settings(make_config(scenario="Offline"), 100.0).test.server_coalesce_queries
    path = tmp_path / "user.conf"
    path.write_text("*.Server.coalesce_queries = 0\n")
    settings = build_settings(replace(config, user_conf=str(path)), 100.0)
    assert not settings.test.server_coalesce_queries


def test_audit_config_shapes_the_effective_settings(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    path = tmp_path / "audit.config"
    path.write_text("*.Offline.mode = 2\n*.*.performance_sample_count_override = 16\n")
    settings = build_settings(make_config(mode="AccuracyOnly", audit_config=str(path)), 100.0)
    assert settings.mode == "PerformanceOnly"
    assert settings.performance_sample_count == 16
    assert as_dict(settings.test)["mode"] == "AccuracyOnly"
    assert settings.effective.offline_expected_qps == settings.test.offline_expected_qps


def test_a_limit_that_no_sample_meets_is_noted(make_config: MakeConfig) -> None:
    settings = build_settings(make_config(scenario="Server"), 80.0)
    assert any("fewer instances with more processors" in note for note in settings.notes)
    assert settings.test.server_target_qps == pytest.approx(12.0)


def simulated_tail(load: float, instances: int, wait: float) -> float:
    """P(waiting > wait) of M/D/c with service time 1, by simulation."""
    generator = random.Random(1)
    free = [0.0] * instances
    now, late, queries = 0.0, 0, 60_000
    for _ in range(queries):
        now += generator.expovariate(load * instances)
        start = max(now, heapq.heappop(free))
        late += start - now > wait
        heapq.heappush(free, start + 1.0)
    return late / queries


@pytest.mark.parametrize(("instances", "load"), [(1, 0.5), (2, 0.6), (8, 0.8), (28, 0.9)])
def test_waiting_tail_bounds_the_simulated_one(instances: int, load: float) -> None:
    computed, simulated = (tail(load, instances, 0.5) for tail in (tail_of_model, simulated_tail))
    assert simulated < 1.15 * computed + 0.002
    assert computed < 2 * simulated + 0.002


def tail_of_model(load: float, instances: int, wait: float) -> float:
    return waiting_tail(load, instances, wait, 1.0)


def test_server_load_grows_with_the_limit() -> None:
    loads = [server_qps(280.0, 28, limit, 0.99) for limit in (0.16, 0.2, 0.3, 3.0)]
    assert loads == sorted(loads)
    assert loads[0] > 100
    assert loads[-1] < 280


@pytest.mark.parametrize("with_user_conf", [False, True])
def test_a_round_brings_its_seeds(
    make_config: MakeConfig, tmp_path: Path, with_user_conf: bool
) -> None:
    path = tmp_path / "user.conf"
    path.write_text("resnet50.Offline.target_qps = 30\n")
    changes = {"user_conf": str(path)} if with_user_conf else {}
    test = load_settings(make_config(round="5.0", **changes)).test
    assert test.qsl_rng_seed == 6023615788873153749
    assert test.sample_index_rng_seed == 15036839855038426416
    assert test.schedule_rng_seed == 9933818062894767841


def test_a_round_that_has_other_seeds(make_config: MakeConfig) -> None:
    test = load_settings(make_config(round="v4.0", other_seeds=True)).test
    assert (test.qsl_rng_seed, test.schedule_rng_seed) == (
        2376919268182438552,
        3911940905271271337,
    )
    with pytest.raises(ConfigError, match=r"other_seeds: round 'v5.0' has none"):
        make_config(round="v5.0", other_seeds=True)


def test_a_limit_is_that_of_the_round(make_config: MakeConfig) -> None:
    for name, limit_ms in ((None, 60), ("v3.0", 30)):
        config = make_config(scenario="Server", model="dlrm", round=name, server_latency_ms=30.0)
        assert load_settings(config).test.server_target_latency_ns == limit_ms * 1_000_000


def test_an_unknown_round_is_named(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"unknown round '7\.0' \(known: v1\.1, "):
        make_config(round="7.0")


@pytest.mark.parametrize(("line", "limit_ms"), [("", 20), ("*.Server.target_latency = 30", 30)])
def test_a_limit_that_mlperf_conf_does_not_know_outlasts_user_conf(
    make_config: MakeConfig, tmp_path: Path, line: str, limit_ms: int
) -> None:
    """LoadGen reads mlperf.conf, with its limit for all, once more beside user.conf."""
    conf = tmp_path / "user.conf"
    conf.write_text(f"*.Server.target_qps = 5\n{line}\n")
    own = {"model": "my-net", "performance_sample_count": 64, "server_latency_ms": 20.0}
    config = make_config(scenario="Server", user_conf=str(conf), **own)
    assert build_settings(config, 100.0).test.server_target_latency_ns == limit_ms * 1_000_000
