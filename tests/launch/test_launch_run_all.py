"""Several runs by one command: which there are, which are left out, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import environment, wait_for
from toys import TOY

import models
from launch.cli import Parser, main
from launch.commands.run import add_arguments, read_options
from launch.options import RunOptions
from launch.series.ledger import Ended, Ledger
from launch.series.series import Series
from launch.series.steps import Step, Wanted, find_steps
from launch.supervise.environment import PACKAGE_ROOT

SUPPORT = PACKAGE_ROOT / "tests" / "support"
RATES = {"SingleStream": 3, "MultiStream": 3, "Server": 5, "Offline": 7}
REGISTER = """\
import models
models.TASKS |= {"toy": "toys:TOY", "broken": "broken:BROKEN"}
"""
BROKEN = """\
from dataclasses import replace
from ragged import Ragged, Sequences
class Broken(Ragged):
    name = "broken"
    benchmarks = (replace(Ragged.benchmarks[0], name="broken", conf="broken"),)
    def data(self, sources):
        return Sequences(seed=6, broken=(3,))
BROKEN = Broken()
"""


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.TASKS, "toy", "toys:TOY")


def options(model: str, scenario: str, mode: str, results: str = "results") -> RunOptions:
    parser = Parser()
    add_arguments(parser)
    asked = {"model": model, "scenario": scenario, "mode": mode, "results": results}
    return read_options(parser.parse_args([*RunOptions.asking(**asked), "--engine=sim"]))


def subjects(**changes: object) -> tuple[list[str], list[str]]:
    asked = {
        "benchmarks": ("resnet50", "toy"),
        "config_vers": ("default",),
        "scenarios": ("Offline",),
        "modes": ("PerformanceOnly",),
        "audits": False,
        "round": None,
    }
    steps, left_out = find_steps(Wanted(**{**asked, **changes}), options)  # type: ignore[arg-type]
    return [step.subject for step in steps], left_out


def test_benchmarks_by_versions_by_scenarios_by_modes(toy: None) -> None:
    found, left_out = subjects(
        config_vers=("default", "high_accuracy"), modes=("PerformanceOnly", "AccuracyOnly")
    )
    assert found == [
        f"{name} Offline {mode}"
        for name in ("resnet50", "toy-99", "toy-99.9")
        for mode in ("PerformanceOnly", "AccuracyOnly")
    ]
    assert left_out == ["resnet50 high_accuracy: its only benchmark is resnet50"]


def test_without_scenarios_all_that_are_official(toy: None) -> None:
    found, left_out = subjects(benchmarks=("toy",), scenarios=())
    expected = TOY.benchmarks[0].scenarios
    assert found == [f"toy-99 {scenario} PerformanceOnly" for scenario in expected]
    assert left_out == []


@pytest.mark.parametrize(
    ("changes", "found", "left_out"),
    [
        ({"scenarios": ("Server",)}, ["resnet50 Server PerformanceOnly"], "toy-99 Server: no scen"),
        # Named itself, it is run as such, whatever the version.
        ({"benchmarks": ("toy-99.9",)}, ["toy-99.9 Offline PerformanceOnly"], ""),
        ({"benchmarks": ("toy", "toy-99")}, ["toy-99 Offline PerformanceOnly"], ""),
        ({"modes": ("FindPeakPerformance",)}, [], "resnet50 Offline FindPeakPerformance: is for"),
        (
            {"audits": True},
            ["resnet50 Offline TEST01, TEST04", "toy-99 Offline TEST01"],
            "",
        ),
        ({"audits": True, "benchmarks": ("ragged",)}, [], "has no compliance tests"),
    ],
)
def test_what_there_is_not_is_left_out(
    toy: None,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    found: list[str],
    left_out: str,
) -> None:
    monkeypatch.setitem(models.TASKS, "ragged", "ragged:RAGGED")
    ran, without = subjects(**changes)
    assert ran == found
    assert left_out in "\n".join(without)


def test_a_ledger_goes_on_until_all_have_passed(tmp_path: Path) -> None:
    steps = [
        Step(options("resnet50", scenario, "PerformanceOnly", str(tmp_path)))
        for scenario in ("Offline", "Server")
    ]
    first = Ledger.find(tmp_path, steps, ("loadrun", "run-all"))
    first.note(steps[0], Ended(code=0, verdict="VALID", run_id="a"))
    first.note(steps[1], Ended(code=3, verdict="INVALID", run_id="b"))
    again = Ledger.find(tmp_path, steps, ())
    assert again.ended == first.ended
    # Of other steps, or with other options, it is another one.
    assert Ledger.find(tmp_path, steps[:1], ()).ended == {}
    again.note(steps[1], Ended(code=0, verdict="VALID", run_id="c"))
    assert Ledger.find(tmp_path, steps, ()).ended == {}
    again.path.write_text("{")
    assert Ledger.find(tmp_path, steps, ()).ended == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--benchmarks=resnet5"], "unknown model 'resnet5' (nearest: resnet50"),
        (["--benchmarks=,"], "--benchmarks ',': names nothing"),
        (["--scenarios=Offlin"], "nearest: Offline"),
        (["--test_mode=Performance"], "nearest: PerformanceOnly"),
        (["--config_ver=high"], "nearest: high_accuracy"),
        (["--benchmarks=resnet50", "--config_ver=high_accuracy"], "nothing to run: resnet50 high"),
        (["--weights=w.pth"], "--weights w.pth: is for one task, not for resnet50 and"),
    ],
)
def test_what_cannot_be_run_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["run-all", *words]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_each_scenario_has_its_own_target_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Series] = []

    def run_all(series: Series) -> int:
        asked.append(series)
        return 0

    monkeypatch.setattr("launch.series.series.run_all", run_all)
    words = ["run-all", "--benchmarks=resnet50,unet", "--config_ver=all", "--engine=sim", "--qps=3"]
    assert main([*words, "--server_target_qps=5", "--offline_target_qps=7"]) == 0
    every = [step.options for step in asked[0].steps]
    assert {(one.model, one.scenario, one.qps) for one in every} == {
        *(("resnet50", name, rate) for name, rate in RATES.items()),
        *((f"3d-unet-{share}", name, RATES[name])
          for share in ("99", "99.9") for name in ("SingleStream", "Offline")),
    }  # fmt: skip


def test_a_killed_series_goes_on_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(REGISTER)
    (tmp_path / "broken.py").write_text(BROKEN)
    words = [sys.executable, "-m", "launch.cli", "run-all", "--benchmarks=toy,broken"]
    words += ["--scenarios=offline", "--engine=sim", "--test_query_count=8", "--instances=1"]
    surroundings = {
        "cwd": tmp_path,
        "env": environment(tmp_path / "cache", tmp_path, SUPPORT),
        "text": True,
    }
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, **surroundings)  # type: ignore[call-overload]

    def kept() -> dict[str, object]:
        found = [json.loads(p.read_text()) for p in tmp_path.glob("results/run-all/*.json")]
        return dict(found[0]["steps"]) if found else {}

    wait_for(lambda: "toy-99 Offline PerformanceOnly" in kept())
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(words, capture_output=True, check=False, timeout=120, **surroundings)  # type: ignore[call-overload]
    assert done.returncode == 4, done.stdout + done.stderr
    assert "2 to run, 1 there already" in done.stdout
    assert "broken Offline PerformanceOnly: sequence 3: is broken" in done.stdout
    table = done.stdout[done.stdout.index(" benchmark ") :]
    rows = [line.split() for line in table.splitlines()]
    ends = {row[0]: (row[-2], row[-1]) for row in rows if len(row) > 3 and row[1] == "Offline"}
    assert ends == {"toy-99": ("VALID", "0"), "broken": ("failed", "2")}
    record = json.loads(
        (tmp_path / "results/offline/toy-99/performance/run_1/run.json").read_text()
    )
    ledger = kept()["toy-99 Offline PerformanceOnly"]
    assert isinstance(ledger, dict)
    assert ledger["run_id"] == record["run_id"]
    assert record["command"][:2] == ["loadrun", "run"]
