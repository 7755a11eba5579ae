"""The table of scenarios and modes, held against LoadGen itself; that nobody keeps another one."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import mlperf_loadgen as lg
import pytest

from loadrun.scenarios import MODES, SCENARIOS, SINGLE_STREAM, Scenario
from loadrun.user_conf import parse_user_conf

ROOT = Path(__file__).parents[2]
PRODUCT = ("launch", "loadrun")
"""Packages that can import the table."""
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def read_by_loadgen(scenario: Scenario, key: str, value: str, where: Path) -> lg.TestSettings:
    path = where / "user.conf"
    path.write_text(f"resnet50.{scenario.name}.{key} = {value}\n")
    parse_user_conf(path)
    test = lg.TestSettings()
    test.scenario = getattr(lg.TestScenario, scenario.name)
    assert test.FromConfig(str(path), "resnet50", scenario.name, 1) == 0
    return test


def test_they_are_loadgen_s() -> None:
    # Some names of the enumerations are aliases of others.
    assert {*SCENARIOS} == {found.name for found in lg.TestScenario.__members__.values()}
    assert {*MODES} == {found.name for found in lg.TestMode.__members__.values()}


@each_scenario
def test_loadgen_reads_the_target_from_that_key_in_that_unit(
    scenario: Scenario, tmp_path: Path
) -> None:
    test = read_by_loadgen(scenario, scenario.target.key, "12.5", tmp_path)
    assert getattr(test, scenario.target.setting) * scenario.target.factor == pytest.approx(12.5)


@each_scenario
def test_loadgen_has_these_settings(scenario: Scenario) -> None:
    test = lg.TestSettings()
    names = (scenario.percentile, scenario.limit, scenario.samples_per_query)
    assert all(hasattr(test, name) for name in names if name is not None)


@each_scenario
def test_only_what_has_a_limit_keeps_user_conf_s_target_latency_as_one(
    scenario: Scenario, tmp_path: Path
) -> None:
    test = read_by_loadgen(scenario, "target_latency", "7", tmp_path)
    if scenario.limit is not None:
        assert getattr(test, scenario.limit) == 7_000_000
    elif scenario.one_by_one:
        assert getattr(test, scenario.target.setting) == 7_000_000
    else:
        assert scenario.at_once


def test_one_sample_at_a_time_is_single_stream_alone() -> None:
    assert [found.name for found in SCENARIOS.values() if found.one_sample] == ["SingleStream"]
    assert not replace(SINGLE_STREAM, samples_per_query="some_setting").one_sample


@pytest.mark.parametrize("package", PRODUCT)
def test_no_module_spells_a_scenario_or_mode_anew(package: str) -> None:
    names = {*SCENARIOS, *MODES}
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.relative_to(ROOT) != Path("loadrun/scenarios.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not spelled, "look it up in loadrun.scenarios"
