"""Configuration, names and user.conf."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loadrun_harness import make_config

from base.errors import ConfigError
from loadrun.config import LoadrunConfig, Overrides
from loadrun.scenarios import UnknownNameError, parse_mode, parse_scenario
from loadrun.user_conf import UserConfError, parse_user_conf

__all__ = ["make_config"]  # fixture of this module
MakeConfig = Callable[..., LoadrunConfig]


@pytest.mark.parametrize(
    ("text", "scenario"),
    [
        ("offline", "Offline"),
        ("SERVER", "Server"),
        ("single-stream", "SingleStream"),
        ("SingleStream", "SingleStream"),
        ("multi_stream", "MultiStream"),
    ],
)
def test_scenarios_in_any_spelling(text: str, scenario: str) -> None:
    assert parse_scenario(text) == scenario


def test_unknown_names_suggest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown scenario 'ofline' \(nearest: Offline"):
        parse_scenario("ofline")
    with pytest.raises(UnknownNameError, match="nearest: AccuracyOnly"):
        parse_mode("Acuracy")
    assert parse_mode("submissionrun") == "SubmissionRun"


def test_json_round_trip(make_config: MakeConfig) -> None:
    config = make_config(processors=[0, 3], overrides=Overrides(target_qps=12.5))
    assert LoadrunConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instnces": 2}, r"unknown key 'instnces' \(nearest: instances\)"),
        ({"overrides": {"target_qsp": 2}}, r"unknown key 'overrides.target_qsp' \(nearest: t"),
        ({"overrides": {"target_qps": 0}}, r"overrides.target_qps is 0; it must be positive"),
        ({"overrides": {"samples_per_query": 8}}, "applies to MultiStream, not Offline"),
        ({"overrides": {"target_latency_ms": 8}}, "Offline has no latency limit"),
        ({"instances": "two"}, "instances is 'two'; expected int"),
        ({"instances": 0}, "instances is 0; it must be at least 1"),
        ({"in_flight": True}, "in_flight is True"),
        ({"processors": ["0"]}, r"processors is \['0'\]"),
        ({"scenario": "batch"}, "unknown scenario 'batch'"),
        ({"mode": "FindPeakPerformance"}, "exists for Server only"),
        ({"run_id": "A/b"}, "run_id: "),
        ({"performance_sample_count": -1}, "performance_sample_count is -1"),
    ],
)
def test_bad_configurations(make_config: MakeConfig, change: dict[str, Any], message: str) -> None:
    raw = {**json.loads(make_config().to_json()), **change}
    with pytest.raises(ConfigError, match=message):
        LoadrunConfig.from_json(json.dumps(raw))


def test_missing_key_and_file(make_config: MakeConfig, tmp_path: Path) -> None:
    raw = json.loads(make_config().to_json())
    del raw["samples"]
    with pytest.raises(ConfigError, match="missing key 'samples'"):
        LoadrunConfig.from_json(json.dumps(raw))
    with pytest.raises(ConfigError, match=r"cannot read .*none\.json: No such file"):
        LoadrunConfig.load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text("{")
    with pytest.raises(ConfigError, match=r"half\.json: not JSON"):
        LoadrunConfig.load(tmp_path / "half.json")


def test_config_may_leave_defaults_out(make_config: MakeConfig) -> None:
    config = replace(make_config(), overrides=Overrides(), start_timeout_s=120.0)
    raw = json.loads(config.to_json())
    for key in ("overrides", "in_flight", "policy", "stop_timeout_s", "start_timeout_s"):
        del raw[key]
    assert LoadrunConfig.from_json(json.dumps(raw)) == config


def test_user_conf_precedence(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text(
        "# comment\n\n*.*.min_duration = 1\nresnet50.*.min_duration = 2\n"
        "*.Offline.min_duration = 3\nresnet50.Server.min_duration = 4\n"
        "resnet50.Server.min_duration = 0x10\nwan-2.2-t2v-a14b.Offline.target_qps = 1e3\n"
    )
    conf = parse_user_conf(path)

    def value(model: str, scenario: str) -> float | None:
        entry = conf.get(model, scenario, "min_duration")
        return entry.value if entry else None

    assert value("resnet50", "Server") == 16
    assert value("resnet50", "Offline") == 3
    assert value("resnet50", "SingleStream") == 2
    assert value("mobilenet", "Server") == 1
    assert conf.get("resnet50", "Offline", "target_qps") is None
    assert conf.entries[-1].line == 8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("resnet50.Offline.target_qp = 5", "unknown key 'target_qp' (nearest: target_qps)"),
        ("resnet5.Offline.target_qps = 5", "unknown model 'resnet5' (nearest: resnet50)"),
        ("resnet50.offlin.target_qps = 5", "unknown scenario 'offlin' (nearest: Offline)"),
        ("resnet50.Offline.target_qps=5", "spaces around ="),
        ("resnet50.Offline.target_qps = 5 # fast", "no comment behind a value"),
        ("#resnet50.Offline.target_qps = 5", "a space behind the #"),
        ("target_qps = 5", "expected model.scenario.key"),
        ("*.Offline.target_qps = many", "target_qps must be a number, got 'many'"),
        ("*.Server.target_latency = 7.5", "a whole number of milliseconds, got '7.5'"),
        ("*.*.min_duration = 010", "a whole number of milliseconds"),
        ("*.*.min_query_count = -1", "must not be negative"),
        ("*.*.qsl_rng_seed = 1", "fixed by MLPerf"),
    ],
)
def test_user_conf_errors_name_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "user.conf"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(UserConfError) as caught:
        parse_user_conf(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


def test_stream_latencies_may_have_fractions(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("*.SingleStream.target_latency = 0.25\n")
    entry = parse_user_conf(path).get("mobilenet", "SingleStream", "target_latency")
    assert entry is not None
    assert entry.value == 0.25
