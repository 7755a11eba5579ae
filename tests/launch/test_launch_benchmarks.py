"""Benchmarks of one task are results of their own: in runs, audits, submissions and scores."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_process import environment
from toys import TOY

import models
from base.errors import InputError
from launch.catalogue import _by_task, _cached, catalogue
from launch.cli import main, parsers
from launch.commands.run import read_options
from launch.compliance.metric import value_in
from launch.compliance.settings import audit_config, parse_audits
from launch.spellings import hyphenated
from launch.submission import rules
from launch.submission.checker import complaints
from launch.supervise.environment import PACKAGE_ROOT
from loadrun.rounds import AUDIT_SEEDS, ROUNDS
from netrun.engines import ENGINES, EngineError, registry

SUPPORT = PACKAGE_ROOT / "tests" / "support"
STRICT, LOOSE = TOY.benchmark("toy-99.9"), TOY.benchmark("toy-99")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.TASKS, "toy", "toys:TOY")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run of the second benchmark of a task that all its processes know."""
    directory = tmp_path_factory.mktemp("toy")
    (directory / "sitecustomize.py").write_text("import models\nmodels.TASKS['toy'] = 'toys:TOY'\n")
    words = ["run", "TOY_99.9", "--engine=sim", "--mode=AccuracyOnly", "--instances=1"]
    done = loadrun(directory, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def loadrun(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=directory,
        env=environment(directory / "cache", directory, SUPPORT),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_run_stands_under_its_benchmark_and_names_the_task(runs: Path) -> None:
    place = runs / "results/offline/toy-99.9/accuracy"
    record = json.loads((place / "run.json").read_text())
    assert (record["model"], record["task"], record["benchmark"]) == ("toy-99.9", "toy", "toy-99.9")
    assert not (runs / "results/offline/toy-99").exists()
    assert json.loads((place / "loadrun.config.json").read_text())["model"] == "toy"
    # The instances know the task alone: what it computes is the same.
    assert json.loads((place / "netrun_0.config.json").read_text())["model"] == "toy"


def test_a_log_is_scored_by_its_task(runs: Path) -> None:
    log = "results/offline/toy-99.9/accuracy/mlperf_log_accuracy.json"
    (runs / "data").touch()
    done = loadrun(runs, "accuracy", log, "--task", "toy-99.9", "--data", "data")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "MLPerf's exact target of 99.900%: missed\nexact=0.00%\n"


def test_the_general_form_of_accuracy_is_that_of_labels(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).touch()
    labels, log = tmp_path / "map.txt", tmp_path / "log.json"
    labels.write_text("a.png 1\nb.png 2\n")
    log.write_text('[{"qsl_idx": 0, "data": "01000000"}, {"qsl_idx": 1, "data": "05000000"}]')
    general = ["--task", "resnet", "--images", str(tmp_path / "images"), "--labels", str(labels)]
    shown = [loadrun(runs, "accuracy", str(log), *words) for words in ([str(labels)], general)]
    assert [done.stdout for done in shown] == ["accuracy=50.000%, good=1, total=2\n"] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "LABELS is missing: give it, or --task NAME with its data"),
        (["map.txt", "--images", "val"], "--images val: is for --task NAME, not for LABELS"),
        (["map.txt", "--task", "resnet50"], "exclude each other (give --images DIR)"),
        (["--task", "resnet50", "--details"], "--details: is for LABELS, not for --task"),
        (["--task", "toy"], "--task toy: its data are missing (give --data PATH)"),
        (["--task", "toy", "--labels", "x"], "--labels x: an option of resnet50 and mobilenet"),
        (["--task", "tou"], "unknown model 'tou' (nearest: toy"),
    ],
)
def test_forms_of_accuracy_are_not_mixed(
    toy: None, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["accuracy", "log.json", *words]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "canonical"),
    [("toy", "toy-99"), ("Plaything", "toy-99"), ("toy-99", "toy-99"), ("TOY_99.9", "toy-99.9")],
)
def test_a_name_means_a_benchmark(toy: None, given: str, canonical: str) -> None:
    assert models.canonical(given) == canonical
    assert models.canonical(canonical) == canonical
    assert models.benchmark(given).name == canonical
    assert models.get(given) is TOY


@pytest.mark.parametrize(
    ("words", "model", "precision"),
    [
        (["toy"], "toy-99", "int8"),
        (["toy", "--config-ver=default"], "toy-99", "int8"),
        (["toy", "--config_ver", "High-Accuracy"], "toy-99.9", "bf16"),
        (["toy-99.9", "--config_ver=high_accuracy"], "toy-99.9", "bf16"),
        (["toy-99.9"], "toy-99.9", "bf16"),
        (["toy-99.9", "--precision=fp32"], "toy-99.9", "fp32"),
        (["resnet50", "--config-ver=default"], "resnet50", "int8"),
    ],
)
def test_config_ver_picks_a_benchmark_and_its_precision(
    toy: None, words: list[str], model: str, precision: str
) -> None:
    parser = parsers()[1]["run"]
    options = read_options(parser.parse_args([hyphenated(word) for word in words]))
    assert (options.model, options.precision, options.config_ver) == (model, precision, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["resnet50", "--config-ver=high_accuracy"],
            "--config-ver high_accuracy: resnet50 has none (its benchmarks: resnet50)",
        ),
        (["toy-99", "--config-ver=high_accuracy"], "is toy-99.9, not toy-99; leave one out"),
        (["toy", "--config-ver=highest"], "nearest: high_accuracy; known: default, high_accuracy"),
    ],
)
@pytest.mark.parametrize("command", ["run", "build", "tune", "find-qps", "calibrate"])
def test_a_config_ver_that_is_none(
    toy: None, capsys: pytest.CaptureFixture[str], command: str, words: list[str], said: str
) -> None:
    assert main([command, *words]) == 2
    assert said in capsys.readouterr().err


def test_choices_are_tasks_and_benchmarks(toy: None) -> None:
    choices = models.choices()
    assert choices[: len(models.names())] == models.names()
    assert {"toy", "toy-99", "toy-99.9"} < {*choices}
    assert len(choices) == len({*choices})


def test_an_audit_logs_as_many_answers_as_its_benchmark_asks_for() -> None:
    assert "accuracy_log_sampling_target = 64\n" in audit_config("test01", STRICT)
    text = audit_config("TEST01", models.benchmark("resnet50"))
    assert "accuracy_log_sampling_target = 4096\n" in text
    assert "sampling_target" not in audit_config("TEST04", STRICT)


def test_other_seeds_are_those_of_the_round() -> None:
    assert audit_config("TEST05", STRICT, "v4.0") == "*.*.mode = 2\n"
    with pytest.raises(InputError, match=r"TEST05: round v5.0 has none; give --round v1.1, .*v4.1"):
        audit_config("TEST05", STRICT, "v5.0")
    assert {*AUDIT_SEEDS} < {*ROUNDS}
    assert all(AUDIT_SEEDS[round] != ROUNDS[round] for round in AUDIT_SEEDS)


def test_a_category_asks_for_the_scenarios_that_a_benchmark_has() -> None:
    rules.check_category("edge", "v6.0", STRICT)
    assert rules.scenarios("edge", STRICT) == ("SingleStream", "Offline")
    assert rules.scenarios("datacenter,edge", STRICT) == ("SingleStream", "Offline")
    assert rules.tests("closed", STRICT, "v5.0") == ("TEST01",)
    assert rules.tests("closed", STRICT, "v4.1") == ("TEST01", "TEST05")
    resnet50 = models.benchmark("resnet50")
    assert rules.tests("closed", resnet50, "v2.1") == ("TEST01", "TEST04", "TEST05")
    pair = ("TEST04-A", "TEST04-B")
    assert rules.tests("closed", resnet50, "v2.0") == ("TEST01", *pair, "TEST05")
    assert parse_audits("test04-b,TEST01", "v2.0") == [*pair, "TEST01"]
    with pytest.raises(InputError, match=r"TEST04: round v2.0 has TEST04-A and TEST04-B in its"):
        parse_audits("TEST04", "v2.0")
    with pytest.raises(InputError, match=r"TEST04-A: other rounds have TEST04 in its place; give"):
        parse_audits("TEST04-A", "v5.0")
    assert rules.tests("open", STRICT, "v4.1") == ()


@pytest.mark.parametrize(
    ("system_type", "round", "said"),
    [
        ("datacenter", "v5.0", "round v5.0 has toy-99 in the edge category only: system_type must"),
        ("edge", "v6.1", r"round v6.1 has no toy-99 \(--round v6.0 was the last with it\)"),
    ],
)
def test_a_category_without_the_benchmark(system_type: str, round: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        rules.check_category(system_type, round, LOOSE)


def test_a_category_may_have_had_a_benchmark_from_some_round_on() -> None:
    bert = models.benchmark("bert-99.9")
    rules.check_category("datacenter", "v4.1", bert)
    rules.check_category("edge", "v5.0", bert)
    with pytest.raises(InputError, match=r"datacenter, not edge \(--round v5.0 was the first with"):
        rules.check_category("edge", "v4.1", bert)
    with pytest.raises(InputError, match=r"edge, not datacenter \(--round v4.1 was the last with"):
        rules.check_category("datacenter", "v5.0", bert)


@pytest.mark.parametrize(
    ("metric", "line", "value"),
    [
        ("accuracy", "accuracy=76.146%, good=38073, total=50000", 76.146),
        ("F1", '{"exact_match": 83.5, "f1": 90.87}', 90.87),
        ("mAP", " Average Precision  (AP) @[ IoU=0.50:0.95 ] = 0.370\nmAP=37.550%", 37.55),
        ("AUC", "AUC=80.310%, accuracy=81%, good=1, total=2, queries=3", 80.31),
        ("WER", "Word Error Rate: 7.45%, accuracy=92.55%", 92.55),
        ("DICE", "Accuracy: mean = 0.86170, kidney = 0.9347, tumor = 0.7887", 0.8617),
        ("accuracy", "hash=abc", None),
    ],
)
def test_the_checkers_find_a_metric_in_its_line(metric: str, line: str, value: float) -> None:
    assert value_in(line, replace(LOOSE, metric=metric)) == value


def test_every_benchmark_of_the_closed_division_has_a_pattern() -> None:
    for name in rules.closed():
        assert models.benchmark(name).pattern, name


def test_each_benchmark_of_a_task_is_one_of_the_closed_division(toy: None) -> None:
    assert {"resnet50", "toy-99", "toy-99.9"} <= {*rules.closed()}
    assert not {"mobilenet", "toy"} & {*rules.closed()}
    assert models.benchmark("toy-99").checker_name == "toy-99"
    assert models.benchmark("mobilenet").checker_name == "resnet"


def test_cures_are_for_the_benchmark_of_a_complaint(toy: None) -> None:
    line = "ERROR:main:/out/box/{}/Offline accuracy run does not cover the data\n"
    names = ["resnet50", "toy-99"]
    (of_toy,) = complaints(line.format("toy-99"), "", names)
    (of_images,) = complaints(line.format("resnet50"), "", names)
    assert "all 64 samples of the official data set: --data with" in of_toy.cure
    assert "all 50,000 images of the official data set: --images with" in of_images.cure


def test_what_can_be_run_is_listed(
    toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights/resnet50_v1.onnx"
    for path in (weights, tmp_path / "artifacts/toy-int8-01", tmp_path / "samples/toy-1-02/a.npy"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    monkeypatch.setenv("LOADRUN_CACHE", str(tmp_path))
    assert main(["models", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    tasks = {task["name"]: task for task in found["tasks"]}
    assert [*tasks] == models.names()
    assert [b["name"] for b in tasks["toy"]["benchmarks"]] == ["toy-99", "toy-99.9"]
    assert [b["target"] for b in tasks["toy"]["benchmarks"]] == pytest.approx([99.0, 99.9])
    assert tasks["toy"]["artifacts"] == [{"name": "toy-int8-01", "bytes": 5}]
    assert tasks["resnet50"]["options"] == ["--labels FILE"]
    first, second, *_ = tasks["resnet50"]["published"]
    assert (first["fetched"], second["fetched"]) == (str(weights), None)
    assert found["samples"] == [{"name": "toy-1-02", "bytes": 5}]
    assert [engine["name"] for engine in found["engines"]] == [*ENGINES]
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    benchmark = "  benchmark toy-99.9: exact 99.9% over 64 samples, by default in bf16\n"
    assert f"{benchmark}    SingleStream, Offline\n" in shown
    assert f"    {weights}\n" in shown
    assert "    loadrun fetch resnet50 --file resnet50-0676ba61.pth\n" in shown


def test_an_engine_that_is_not_there_is_listed_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(name: str) -> None:
        if name == "openvino":
            raise EngineError("engine openvino is not installed: pip install 'loadrun[openvino]'")

    monkeypatch.setenv("LOADRUN_CACHE", str(tmp_path))
    monkeypatch.setattr(registry, "check", check)
    missing = {engine.name: engine.missing for engine in catalogue().engines if engine.missing}
    assert missing == {
        "openvino": "engine openvino is not installed: pip install 'loadrun[openvino]'"
    }


def test_artifacts_are_of_the_task_with_the_longest_name(tmp_path: Path) -> None:
    for name in ("dlrm-int8-01", "dlrm-v2-int8-02", "other-03"):
        (tmp_path / name).write_text("x")
    found = _by_task(_cached(tmp_path), ["dlrm", "dlrm-v2"])
    assert {task: [entry.name for entry in entries] for task, entries in found.items()} == {
        "dlrm": ["dlrm-int8-01"],
        "dlrm-v2": ["dlrm-v2-int8-02"],
    }


def test_a_scenario_that_a_benchmark_does_not_have_is_not_official(toy: None) -> None:
    from argparse import ArgumentParser

    from launch.commands.run import add_arguments, read_options
    from launch.screen.announcement import unofficial_reasons

    parser = ArgumentParser()
    add_arguments(parser)
    options = read_options(parser.parse_args(["toy-99.9", "--engine=sim", "--no-tuned"]))
    server = replace(options, scenario="Server")
    reasons = unofficial_reasons(server, 64, False, [])
    assert reasons == ["toy-99.9 has no Server", "engine sim"]
    assert unofficial_reasons(options, 64, False, []) == ["engine sim"]
