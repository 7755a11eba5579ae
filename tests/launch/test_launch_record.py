"""What run.json says of the host and of what loadrun reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import record, result

import models
from base.errors import RunError
from launch import trial
from launch.build.assets import Assets, DataFacts, SampleFacts
from launch.cli import Parser
from launch.commands.run import add_arguments, read_options
from launch.machine.host import host
from launch.machine.pinning import find_pinning
from launch.machine.topology import read_topology
from launch.outcome.recorder import Recorder
from launch.run import plan_for
from launch.screen.announcement import user_conf_settings
from launch.supervise.environment import preloaded, recorded_environment
from launch.supervise.signals import Signals
from launch.trial import without_targets
from loadrun.report import Report


@pytest.mark.parametrize("bound", [None, "AVX2"])
def test_the_bound_on_the_instruction_set_is_recorded(
    monkeypatch: pytest.MonkeyPatch, bound: str | None
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if bound is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", bound)
    assert host(read_topology()).max_cpu_isa == bound


def recorder_of(*words: str) -> Recorder:
    parser = Parser()
    add_arguments(parser)
    options = read_options(parser.parse_args(["resnet50", *words]))
    topology = read_topology()
    plan = plan_for(options, topology)
    return Recorder(options, plan, find_pinning(topology), topology, "abcd")


def test_notices_of_building_stay_beside_loadruns_notes() -> None:
    recorder = recorder_of()
    samples = SampleFacts("s.npy", 3, 0, DataFacts("synthetic", "0", True))
    notices = ["only slow kernels"]
    built = Assets("resnet50", samples, None, None, [], None, "no labels", notices)
    recorder.prepared(built)
    assert recorder.record.as_json()["notes"] == ["only slow kernels"]
    recorder.report(Report("loadrun.json", notes=["coalesced"]))
    assert recorder.record.as_json()["notes"] == ["only slow kernels", "coalesced"]


@pytest.mark.parametrize(("engine", "expected"), [("null", None), ("sim", 0.5)])
def test_an_engine_without_work_has_no_harness_efficiency(
    engine: str, expected: float | None
) -> None:
    recorder = recorder_of("--engine", engine)
    recorder.report(Report("loadrun.json", harness_efficiency=0.5))
    assert recorder.record.measured.harness_efficiency == expected


def test_what_was_preloaded_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ld.so.preload"
    file.write_text("/lib/c.so\n")
    variables = {"LD_PRELOAD": "/lib/a.so:/lib/b.so", "MALLOC_ARENA_MAX": "1", "HOME": "/root"}
    assert preloaded(variables, file) == ["/lib/a.so", "/lib/b.so", "/lib/c.so"]
    assert preloaded({}, tmp_path / "none") == []
    assert recorded_environment(variables) == {
        "LD_PRELOAD": "/lib/a.so:/lib/b.so",
        "MALLOC_ARENA_MAX": "1",
    }
    monkeypatch.setenv("LD_PRELOAD", "/lib/a.so")
    values = recorder_of("--engine", "sim").record.as_json()
    assert values["environment"]["LD_PRELOAD"] == "/lib/a.so"
    assert "/lib/a.so" in values["preloaded"]


def test_a_user_conf_that_takes_effect_is_named(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    parser = Parser()
    add_arguments(parser)
    words = ["resnet50", "--engine", "sim", "--no-tuned", "--user-conf", str(path)]
    path.write_text("# nothing\nresnet50.Server.target_qps = 7\n")
    options, model = read_options(parser.parse_args(words)), models.benchmark("resnet50")
    assert user_conf_settings(options, model) == []
    path.write_text("*.Offline.target_qps = 26000\nresnet50.*.min_duration = 1000\n")
    (line,) = user_conf_settings(options, model)
    assert line == f"{path}: target_qps = 26000, min_duration = 1000"


def test_trials_expect_no_rate(tmp_path: Path) -> None:
    path, copies = tmp_path / "user.conf", tmp_path / "copies"
    copies.mkdir()
    path.write_text(
        "# mine\nresnet50.Server.target_qps = 7\nresnet50.Server.target_latency = 9\n"
        "*.SingleStream.target_latency = 3\n"
    )
    copy = without_targets(path, "resnet50", "Server", copies)
    assert copy is not None
    kept = "# mine\nresnet50.Server.target_latency = 9\n*.SingleStream.target_latency = 3\n"
    assert copy.read_text() == kept
    copy = without_targets(path, "resnet50", "SingleStream", copies)
    assert copy is not None
    assert copy.read_text() == "# mine\n"
    assert without_targets(tmp_path / "none", "resnet50", "Server", copies) is None


def test_a_trial_whose_times_do_not_count_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = record(
        times_count=False,
        result=result(invalid=[{"reason": "the clock was set", "cure": "run again"}]),
    )
    answers = [spoiled, record(times_count=True)]
    monkeypatch.setattr(trial, "_run", lambda *_: answers.pop(0))
    words: tuple[str, str, list[str]] = ("resnet50", "Server", [])
    with Signals() as signals:
        assert trial.run_once(*words, tmp_path, signals) == record(times_count=True)
        answers += [spoiled] * trial.TRIES
        with pytest.raises(RunError, match="the clock was set"):
            trial.run_once(*words, tmp_path, signals)
