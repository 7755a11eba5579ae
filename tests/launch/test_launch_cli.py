"""The command line: help, wrong words, exit codes."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import models
from base.errors import InputError
from launch.cli import COMMANDS, main, parsers
from launch.compliance.settings import audit_config
from launch.options import find_sources, find_user_conf
from launch.supervise.environment import PACKAGE_ROOT
from loadrun.user_conf import parse_user_conf
from models.packages import installing


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must be refused; returns its one line."""
    try:
        code = main(list(words))
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.startswith("loadrun: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rnu"], "unknown command 'rnu' (nearest: run)"),
        (["run"], "MODEL"),
        (["run", "resnet50", "--intsances", "3"], "'--intsances' (nearest: --instances)"),
        (["run", "resnet50", "--batch", "3"], "unknown option '--batch' (nearest: --batch-size)"),
        (["run", "resnet50", "extra"], "unexpected argument 'extra'"),
        (["run", "resnet5"], "unknown model 'resnet5' (nearest: resnet50"),
        (["run", "resnet50", "--scenario", "offlne"], "nearest: Offline"),
        (["run", "resnet50", "--mode", "acuracyonly"], "nearest: AccuracyOnly"),
        (["run", "resnet50", "--policy", "round-robbin"], "nearest: round_robin"),
        (["run", "resnet50", "--engine", "onedn"], "nearest: onednn"),
        (["run", "resnet50", "--precision", "int4"], "nearest: int8"),
        (["run", "resnet50", "--engine", "onednn", "--precision", "fp32"], "--engine pytorch"),
        (["run", "resnet50", "--batch-size", "0"], "'0' is not a whole number of at least 1"),
        (["run", "resnet50", "--instances", "two"], "--instances: 'two'"),
        (["run", "resnet50", "--qps", "nan"], "'nan' is not a number above 0"),
        (["run", "resnet50", "--time", "inf"], "'inf' is not a number above 0"),
        (["run", "resnet50", "--max-latency", "5"], "Offline has no latency limit"),
        (["run", "resnet50", "--min-duration=0"], "--min-duration: '0' is not a whole number"),
        (["run", "resnet50", "--time=3", "--min_duration=9"], "--time 3 and --min-duration 9"),
        (["run", "resnet50", "--test_query_count=3", "--min_query_count=4"], "leave one out"),
        (["run", "resnet50", "--through-ring"], "--through-ring is for SingleStream"),
        (["run", "resnet50", "--strict", "--oversubscribe"], "exclude each other"),
        (["run", "resnet50", "--mode", "findpeakperformance"], "Server only"),
        (["run", "resnet50", "--audit", "TEST1"], "nearest: TEST01"),
        (["run", "resnet50", "--audit", "TEST01", "--mode", "AccuracyOnly"], "PerformanceOnly"),
        (["run", "resnet50", "--weights", "/no/such"], "--weights /no/such: no such file"),
        (["run", "resnet50", "--images", "/no/such"], "--images /no/such: no such directory"),
        (["run", "resnet50", "--labels", "setup.cfg"], "labels need --images"),
        (["run", "resnet50", "--user-conf", "/no/such"], "--user-conf /no/such"),
        (["run", "resnet50", "--instances", "4", "--cores", "2"], "--cores 4 or more"),
        (["run", "resnet50", "--instances", "999", "--strict"], "--strict"),
        (["single-stream", "resnet50", "--instances", "2"], "SingleStream has one query"),
        (["roofline", "resnet5"], "unknown model 'resnet5'"),
        (["roofline", "resnet50", "--cores", "999"], "--cores 999: this machine has"),
        (["roofline", "resnet50", "--picture", "x.png"], "ends in .svg"),
        (["roofline", "resnet50", "--json", "docs"], "docs: is a directory"),
        (["roofline", "resnet50", "--sizes", "--time", "3"], "--time 3 and --sizes exclude"),
        (["roofline", "resnet50", "--weights", "/no/such"], "--weights /no/such: no such file"),
        (["calibrate"], "MODEL"),
        (["calibrate", "mobilenet", "--weights", "setup.cfg"], "(give --images DIR)"),
        (["calibrate", "mobilenet", "--images", "/no/such"], "--images /no/such: no such dir"),
        (["calibrate", "mobilenet", "--engine", "null"], "known: onednn, pytorch"),
        (["calibrate", "mobilenet", "--precision", "fp32"], "unknown option '--precision'"),
        (["build", "mobilenet", "--engine", "sim"], "--engine sim: computes nothing"),
        (["build", "mobilenet", "--precision", "fp64"], "known: int8, bf16, fp32"),
        (["build", "mobilenet", "--labels", "setup.cfg"], "labels need --images DIR"),
        (["topology", "--instances", "999", "--strict"], "leave out --strict"),
    ],
)
def test_wrong_words_get_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(PACKAGE_ROOT)
    assert expected in refused(capsys, *words)


@pytest.mark.parametrize("command", ["run", "calibrate", "build"])
@pytest.mark.parametrize(
    ("machine", "cure"),
    [
        (
            "x86_64",
            f"is not installed: {installing('onednn-cpu-gomp')}, or choose --engine pytorch",
        ),
        ("aarch64", "exists for x86-64 only, and this is aarch64: choose --engine pytorch"),
    ],
)
def test_without_onednn_the_cure_comes_before_anything_is_built(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    machine: str,
    cure: str,
) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    line = refused(capsys, command, "mobilenet")
    assert line == f"loadrun: error: --engine onednn: onednn-cpu-gomp {cure}\n"


def test_a_wrong_user_conf_names_file_and_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    conf = tmp_path / "user.conf"
    conf.write_text("# mine\nresnet50.Offline.traget_qps = 3\n")
    line = refused(capsys, "run", "resnet50", "--user-conf", str(conf))
    assert f"{conf}:2:" in line
    assert "target_qps" in line


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_quick_and_light(command: str) -> None:
    code = (
        "import sys; from launch.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'rich', 'psutil', 'mlperf_loadgen'} & {*sys.modules}\n"
        "assert not heavy, heavy"
    )
    words = [sys.executable, "-c", code, *command.split(), "--help"]
    done = subprocess.run(words, cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: loadrun")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_the_sections_of_a_manual_page(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    shown = capsys.readouterr().out
    for part in ("examples:", "exit codes:", f"\n  loadrun {command}"):
        assert part in shown
    _, _, after_usage = shown.partition("\n\n")
    assert len(after_usage.partition("\n\n")[0]) > 60, "a description"
    assert max(map(len, shown.splitlines())) <= 100
    if command:
        # Options stand in groups that say what they are about, and none without a word.
        _, found = parsers()
        for action in found[command]._actions:
            assert action.help, action.option_strings


def test_help_lists_models_and_explains_the_latency(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"MODEL {' or '.join(models.names())}" in shown
    assert "Server: latency limit in milliseconds; SingleStream, MultiStream: expected" in shown


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "run" in capsys.readouterr().out


def test_topology_shows_machine_and_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topology", "--instances", "999"]) == 0
    shown = capsys.readouterr().out
    assert "Asked for: 999 instances" in shown
    assert "plan: " in shown
    assert main(["topology", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"topology", "plan", "pinning"} == {*found}


def test_sources_from_options_and_environment(tmp_path: Path) -> None:
    weights, images, labels = tmp_path / "w.pth", tmp_path / "images", tmp_path / "map.txt"
    weights.touch()
    labels.touch()
    images.mkdir()
    environment = {"LOADRUN_WEIGHTS": str(weights), "LOADRUN_IMAGES": str(images)}
    resnet50 = models.get("resnet50")
    sources = find_sources(resnet50, {"labels": str(labels)}, environment)
    assert (sources.weights, sources.images, sources.task["labels"]) == (weights, images, labels)
    assert sources.served == images
    with pytest.raises(InputError, match="LOADRUN_WEIGHTS /gone: no such file"):
        find_sources(resnet50, {}, {"LOADRUN_WEIGHTS": "/gone"})


def test_labels_of_the_environment_belong_to_its_images(tmp_path: Path) -> None:
    (tmp_path / "map.txt").touch()
    environment = {"LOADRUN_LABELS": str(tmp_path / "map.txt")}
    sources = find_sources(models.get("resnet50"), {"images": str(tmp_path)}, environment)
    assert (sources.images, sources.task["labels"]) == (tmp_path, None)


def test_data_go_by_two_names(tmp_path: Path) -> None:
    task, file = models.get("resnet50"), tmp_path / "data.json"
    file.touch()
    environment = {"LOADRUN_DATA": str(file), "LOADRUN_IMAGES": "/gone"}
    assert find_sources(task, {}, environment).served == file
    assert find_sources(task, {"data": str(file)}, {"LOADRUN_IMAGES": "/gone"}).served == file
    assert find_sources(task, {"images": str(tmp_path)}, environment).served == tmp_path
    with pytest.raises(InputError, match=r"--data a and --images exclude each other"):
        find_sources(task, {"data": "a", "images": "b"}, {})


def test_the_user_conf_of_the_repository_sets_nothing() -> None:
    assert parse_user_conf(PACKAGE_ROOT / "user.conf").entries == ()


def test_user_conf_of_the_current_directory_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_user_conf(None) == PACKAGE_ROOT / "user.conf"
    (tmp_path / "user.conf").touch()
    assert find_user_conf(None) == tmp_path / "user.conf"


def test_audits_are_read_by_loadgen(tmp_path: Path) -> None:
    import mlperf_loadgen as lg

    path = tmp_path / "audit.config"
    path.write_text(audit_config("test04", models.benchmark("resnet50")))
    settings = lg.TestSettings()
    assert settings.FromConfig(str(path), "*", "Offline", 2) == 0
    assert settings.performance_issue_same
    assert settings.performance_issue_same_index == 3
    path.write_text(audit_config("TEST01", models.benchmark("resnet50")))
    assert settings.FromConfig(str(path), "*", "Offline", 2) == 0
    assert settings.accuracy_log_sampling_target == 4096


def test_accuracy_of_a_log_of_another_harness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """float32 answers, a sample twice, in no order: what accuracy-imagenet.py reads as well."""
    answers = [(2, 7.0), (0, 5.0), (1, 4.0), (0, 6.0)]
    entries = [
        {"seq_id": n, "qsl_idx": index, "data": struct.pack("<f", found).hex().upper()}
        for n, (index, found) in enumerate(answers)
    ]
    log = tmp_path / "mlperf_log_accuracy.json"
    log.write_text(json.dumps(entries))
    labels = tmp_path / "val_map.txt"
    labels.write_text("a.jpg 5\nb.jpg 6\nc.jpg 7\n")
    words = ["accuracy", str(log), str(labels), "--dtype", "float32"]
    assert main(words) == 0
    assert capsys.readouterr().out == "accuracy=66.667%, good=2, total=3\n"
    assert main([*words, "--details"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 classes, 2 of them without a wrong answer; the worst:"
    assert lines[2].split() == ["6", "0", "1", "0.0%", "4", "(1)"]
    assert lines[-1] == "accuracy=66.667%, good=2, total=3"
    labels.write_text("a.jpg 5\nb.jpg 1000\n")
    assert main(words) == 2
    assert "val_map.txt:2: label 1000 is not in 0..999" in capsys.readouterr().err


def test_an_accuracy_that_means_nothing_describes_the_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [(37 * n) % 1000 for n in range(60)]
    entries = [
        {"seq_id": n, "qsl_idx": n, "data": struct.pack("<f", answer).hex()}
        for n, answer in enumerate(answers)
    ]
    log, labels = tmp_path / "mlperf_log_accuracy.json", tmp_path / "val_map.txt"
    log.write_text(json.dumps(entries))
    labels.write_text("".join(f"{n}.jpg {answer}\n" for n, answer in enumerate(answers)))
    words = ["accuracy", str(log), str(labels)]
    assert main([*words, "--dtype", "float32"]) == 0
    capsys.readouterr()
    assert main(words) == 3
    assert capsys.readouterr().out.splitlines() == [
        "accuracy means nothing: 59 of 60 answers are no classes, the first of them 1108606976",
        "accuracy means nothing: as float32 they give accuracy=100.000%, good=60, total=60:"
        " --dtype float32?",
        "accuracy=1.667%, good=1, total=60",
    ]
    labels.write_text("".join(f"{n}.jpg {max(a - 1, 0)}\n" for n, a in enumerate(answers)))
    assert main([*words, "--dtype", "float32"]) == 3
    first, last = capsys.readouterr().out.splitlines()
    assert first == "accuracy means nothing: 59 of 60 answers fit label + 1, and 1 the label"
    assert last == "accuracy=1.667%, good=1, total=60"
    assert main([*words, "--dtype", "int64"]) == 2
    error = capsys.readouterr().err
    assert "has 4 bytes, which is not int64 (--dtype float32 or int32?)" in error
    entries[3]["data"] = struct.pack("<f", float("nan")).hex()
    log.write_text(json.dumps(entries))
    assert main([*words, "--dtype", "float32"]) == 2
    assert "the answer to sample 3 is nan, which is no class" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_anything_is_built_is_one_line(number: signal.Signals) -> None:
    code = (
        "import os, sys; from launch import cli\n"
        "cli._run = lambda words: os.kill(os.getpid(), int(sys.argv[0]))\n"
        "sys.argv.pop(0); sys.exit(cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(int(number))],
        cwd=PACKAGE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == f"loadrun: interrupted by {number.name}\n"


def test_a_signal_after_everything_is_done_changes_nothing() -> None:
    code = (
        "import atexit, os, sys; from launch import cli\n"
        "atexit.register(lambda: os.kill(os.getpid(), 2)); cli._run = lambda words: 3\n"
        "sys.exit(cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, check=False)
    assert done.returncode == 3
