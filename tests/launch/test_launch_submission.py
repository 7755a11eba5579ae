"""Submissions: missing runs, the tree of each round, the checker's complaints, real runs."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import records
from cli_process import Cli

import models
from base.errors import InputError, RunError
from launch.cli import main
from launch.commands import run as run_command
from launch.compliance.folder import LOGS
from launch.machine.topology import read_topology
from launch.options import RunOptions
from launch.outcome.record.run import Record, load
from launch.outcome.results import ACCURACY_LOG
from launch.run import planned_record
from launch.submission import rules
from launch.submission.accuracy_log import truncate
from launch.submission.checker import check, complaints, find_checker
from launch.submission.layout import Layout
from launch.submission.steps import estimate_s, find_steps, known_rate
from launch.submission.system import describe, read_system, unfilled, unlike_here
from launch.submission.texts import calibration, mlperf_conf
from launch.submission.tree import write_tree
from loadrun.rounds import ROUNDS
from models.imagenet.content import content_of
from models.imagenet.dataset import image_folder
from models.quantize.method import method_of

ROUND = "v5.0"
RESNET50 = models.benchmark("resnet50")
TESTS = RESNET50.audits
TARGETS = {
    "single_stream_expected_latency_ns": 12.5e6,
    "multi_stream_expected_latency_ns": 80e6,
    "server_target_qps": 60.0,
    "offline_expected_qps": 103.25,
    "min_duration_ms": 600_000,
    "min_query_count": 24_576,
}


def options(results: Path, scenario: str = "Offline", *words: str) -> RunOptions:
    parser = ArgumentParser()
    run_command.add_arguments(parser)
    given = ["resnet50", f"--scenario={scenario}", f"--round={ROUND}", "--no-tuned", *words]
    return replace(run_command.read_options(parser.parse_args(given)), results=results)


@functools.cache
def planned(scenario: str) -> dict[str, Any]:
    return planned_record(options(Path("results"), scenario)).as_json()


def record(scenario: str, mode: str, audit: str | None, **changes: Any) -> dict[str, Any]:
    """A run.json of this machine."""
    accurate = mode == "AccuracyOnly"
    return {
        **records.run_json(**planned(scenario)),
        "status": "COMPLETE",
        "command": ["loadrun", "run", "resnet50", "--images", "my val"],
        "started": "2026-01-01T00:00:00+00:00",
        "mode": mode,
        "audit": audit,
        "artifact": "resnet50-onednn-b8-t1-0123",
        "data": {"name": "synthetic", "sha256": "ab", "synthetic": True},
        "weights": {"name": "synthetic", "sha256": "cd", "synthetic": True},
        "calibration": "synthetic",
        "versions": {"loadrun": "0.1.0", "python": "3.11"},
        "settings": TARGETS,
        "result": records.result(valid=None if accurate else True, invalid=[]),
        "accuracy": records.accuracy() if accurate else None,
        "standalone_rate": 100.0,
        "unofficial_reasons": [f"audit {audit}"] if audit else [],
        **changes,
    }


class Results:
    """A results directory written by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(
        self, scenario: str, mode: str = "PerformanceOnly", audit: str | None = None, **changes: Any
    ) -> None:
        base = self.directory / scenario.lower() / "resnet50"
        place = (base / audit if audit else base) / (
            "accuracy" if mode == "AccuracyOnly" else "performance/run_1"
        )
        place.mkdir(parents=True, exist_ok=True)
        for name in LOGS:
            (place / name).write_text(f"{scenario} {mode} {audit} {name}\n")
        (place / ACCURACY_LOG).write_text("x" * 10_000 if mode == "AccuracyOnly" else "[]")
        (place / "run.json").write_text(json.dumps(record(scenario, mode, audit, **changes)))

    def folder(self, scenario: str, test: str, verdict: str = "TEST PASS") -> None:
        home = self.directory / "compliance/resnet50" / scenario / test
        logs = home / "performance/run_1"
        logs.mkdir(parents=True, exist_ok=True)
        for name in LOGS:
            (logs / name).write_text(f"{scenario} PerformanceOnly {test} {name}\n")
        (home / "verify_performance.txt").write_text(f"{verdict}\n")
        if test == "TEST01":
            (home / "verify_accuracy.txt").write_text("TEST PASS\n")
            (home / "accuracy").mkdir(exist_ok=True)
            (home / "accuracy" / ACCURACY_LOG).write_text("y" * 9_000)

    def complete(self, *scenarios: str) -> None:
        for scenario in scenarios:
            self.run(scenario)
            self.run(scenario, "AccuracyOnly")
            for test in TESTS:
                self.run(scenario, audit=test)
                self.folder(scenario, test)

    def tree(self, round: str = ROUND, *asked: RunOptions) -> tuple[Layout, list[str]]:
        """Write a tree of them beside, and what speaks against submitting it."""
        layout = Layout(self.directory.with_name("out"), round, "closed", "Acme", "box")
        runs = list(asked) or [options(self.directory)]
        return layout, write_tree(layout, {"submitter": "Acme"}, runs)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def missing(results: Results, *words: str) -> dict[str, str]:
    asked = options(results.directory, "Offline", *words)
    return {step.name: step.missing for step in find_steps(asked, TESTS) if step.missing}


def test_everything_is_missing_at_first_and_nothing_at_last(results: Results) -> None:
    assert missing(results) == dict.fromkeys(
        ("PerformanceOnly", "AccuracyOnly", *TESTS), "not there"
    )
    results.complete("Offline")
    assert missing(results) == {}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"round": None}, "of round unknown"),
        ({"round": "v6.0"}, "of round v6.0"),
        ({"engine": "pytorch"}, "of engine pytorch"),
        ({"precision": "bf16"}, "of precision bf16"),
        ({"status": "FAILED"}, "not there"),
        ({"result": records.result(valid=False)}, "INVALID"),
        ({"unofficial_reasons": ["minimum duration 60 s, below 600 s"]}, "minimum duration 60 s"),
        (
            {"weights": {"name": "a.pth", "sha256": "ef", "synthetic": False}},
            "of other weights",
        ),
        ({"host": records.host(architecture="Z80")}, "of another machine, architecture Z80"),
        ({"data": {"name": "val", "sha256": "ef", "synthetic": False}}, "of other images"),
        ({"batch_size": 77}, "of another batch size (77, now 8)"),
        (
            {"plan": records.plan(instances=[])},
            "of another plan (0 instances on 0 processors, now ",
        ),
        ({"result": records.result(valid=True, errors=["clock"])}, "LoadGen logged an error"),
    ],
)
def test_an_unfit_run_is_repeated(results: Results, changes: dict[str, Any], why: str) -> None:
    results.complete("Offline")
    results.run("Offline", **changes)
    found = missing(results)
    assert found["PerformanceOnly"].startswith(why)
    # What was compared with it has to be compared anew.
    assert set(TESTS) <= set(found)


def test_reasons_that_another_run_would_not_cure_are_none_to_run_again(results: Results) -> None:
    results.complete("Offline")
    results.run("Offline", unofficial_reasons=["performance set of 650 samples, below 1024"])
    assert missing(results) == {}


def test_a_short_run_does_where_a_short_one_is_asked_for(results: Results) -> None:
    results.complete("Offline")
    results.run("Offline", unofficial_reasons=["--fast", "minimum duration 60 s, below 600 s"])
    assert set(missing(results)) == {"PerformanceOnly", *TESTS}
    assert missing(results, "--fast") == {}


def test_an_audit_outlives_neither_its_reference_nor_its_verdict(results: Results) -> None:
    results.complete("Offline")
    results.folder("Offline", "TEST04", "TEST FAIL")
    assert missing(results) == {"TEST04": "FAIL"}
    results.folder("Offline", "TEST04")
    for mode in ("PerformanceOnly", "AccuracyOnly"):
        results.run("Offline", mode, started="2026-01-02T00:00:00+00:00")
    assert missing(results) == dict.fromkeys(TESTS, "older than what it is compared with")
    results.complete("Offline")
    results.run("Offline", "AccuracyOnly", started="2026-01-02T00:00:00+00:00")
    assert missing(results) == {"TEST01": "older than what it is compared with"}
    results.complete("Offline")
    results.run("Offline", audit="TEST01", artifact="resnet50-onednn-b8-t1-4567")
    assert missing(results)["TEST01"].startswith("the performance run has another artifact")


def test_a_verdict_on_other_logs_is_none(results: Results) -> None:
    results.complete("Offline")
    results.folder("Offline", "TEST01")
    (results.directory / "offline/resnet50/TEST04/performance/run_1" / LOGS[0]).write_text("new")
    assert missing(results) == {"TEST04": "not judged"}
    step = find_steps(options(results.directory), TESTS)[-1]
    assert estimate_s(step, 100.0, None) == 0


def test_a_target_that_user_conf_sets_now_counts(results: Results, tmp_path: Path) -> None:
    results.complete("Offline")
    conf = tmp_path / "user.conf"
    words = f"--user-conf={conf}"
    conf.write_text("resnet50.Offline.target_qps = 103.25\n")
    assert missing(results, words) == {}
    conf.write_text("resnet50.Offline.target_qps = 120\n")
    assert missing(results, words)["PerformanceOnly"] == ("of another target_qps (103.25, now 120)")


def test_logs_that_are_gone_are_missed(results: Results) -> None:
    results.complete("Offline")
    home = results.directory / "offline/resnet50"
    (home / "TEST01/performance/run_1" / ACCURACY_LOG).unlink()
    (home / "TEST04/performance/run_1" / LOGS[0]).unlink()
    assert missing(results) == {
        "TEST01": f"without its {ACCURACY_LOG}",
        "TEST04": f"without its {LOGS[0]}",
    }


def test_an_accuracy_run_without_labels_does_not_do(results: Results) -> None:
    results.complete("Offline")
    results.run("Offline", "AccuracyOnly", accuracy=None)
    assert missing(results)["AccuracyOnly"] == "made without labels"


def test_an_accuracy_that_means_nothing_does_not_do(results: Results) -> None:
    results.complete("Offline")
    accuracy = records.accuracy(value=0.009, good=9, total=1000, doubts=["it is odd"])
    results.run("Offline", "AccuracyOnly", accuracy=accuracy)
    assert missing(results)["AccuracyOnly"] == "INVALID: its accuracy means nothing"


@pytest.mark.parametrize("repaired", ["val", "calibration"])
def test_runs_of_images_that_were_repaired_since_are_repeated(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repaired: str
) -> None:
    """In place, and to the same size."""
    monkeypatch.setenv("LOADRUN_CACHE", str(tmp_path / "cache"))
    for name in ("val", "calibration"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"broken")
    (tmp_path / "val/val_map.txt").write_text("a.jpg 1\n")
    images, calibration = image_folder(tmp_path / "val"), image_folder(tmp_path / "calibration")
    data = content_of(images, tmp_path).with_labels([1])
    changes: dict[str, Any] = {
        "data": {"name": "val", "sha256": data, "synthetic": False},
        "calibration": "calibration",
        "calibration_sha256": content_of(calibration, tmp_path).sha256,
    }
    results.run("Offline", **changes)
    results.run("Offline", "AccuracyOnly", **changes)
    words = [f"--images={images.root}", f"--calibration={calibration.root}"]
    for mode in ("PerformanceOnly", "AccuracyOnly"):
        assert mode not in missing(results, *words)
    (tmp_path / repaired / "a.jpg").write_bytes(b"mended")
    why = {"val": "of other images or labels", "calibration": "calibrated on other images"}
    for mode in ("PerformanceOnly", "AccuracyOnly"):
        assert missing(results, *words)[mode].startswith(why[repaired])


@pytest.mark.parametrize(("memory", "same"), [(1.01, True), (0.5, False)])
def test_memory_distinguishes_machines_beyond_what_a_kernel_keeps(
    results: Results, memory: float, same: bool
) -> None:
    results.complete("Offline")
    here = planned("Offline")["host"]
    results.run("Offline", host={**here, "memory_bytes": int(memory * here["memory_bytes"])})
    assert (missing(results) == {}) is same


def test_estimates_follow_durations_and_the_known_rate(results: Results) -> None:
    performance, accuracy, *_ = find_steps(options(results.directory), TESTS)
    assert estimate_s(performance, None, None) == 610
    assert estimate_s(accuracy, 100.0, 50_000) == 510
    assert estimate_s(accuracy, None, 50_000) is None
    fast, *_ = find_steps(options(results.directory, "Offline", "--fast"), TESTS)
    assert estimate_s(fast, None, None) == 70
    counted, *_ = find_steps(options(results.directory, "Offline", "--count=500"), TESTS)
    assert estimate_s(counted, 100.0, None) == 15
    assert estimate_s(counted, None, None) is None


def test_a_record_that_is_damaged_costs_an_estimate_and_no_more(results: Results) -> None:
    asked = options(results.directory)
    assert known_rate(asked) is None
    for scenario in ("Server", "Offline"):
        results.run(scenario)
    (results.directory / "offline/resnet50/performance/run_1/run.json").write_text("{")
    assert known_rate(asked) == 100.0
    with pytest.raises(InputError, match=r"offline/.*run\.json: not JSON"):
        find_steps(asked, TESTS)


OLD = """\
closed/Acme/code/resnet50/loadrun/README.md
closed/Acme/compliance/box/resnet50/Offline/TEST01/accuracy/accuracy.txt
closed/Acme/compliance/box/resnet50/Offline/TEST01/accuracy/mlperf_log_accuracy.json
closed/Acme/compliance/box/resnet50/Offline/TEST01/performance/run_1/mlperf_log_detail.txt
closed/Acme/compliance/box/resnet50/Offline/TEST01/performance/run_1/mlperf_log_summary.txt
closed/Acme/compliance/box/resnet50/Offline/TEST01/verify_accuracy.txt
closed/Acme/compliance/box/resnet50/Offline/TEST01/verify_performance.txt
closed/Acme/compliance/box/resnet50/Offline/TEST04/performance/run_1/mlperf_log_detail.txt
closed/Acme/compliance/box/resnet50/Offline/TEST04/performance/run_1/mlperf_log_summary.txt
closed/Acme/compliance/box/resnet50/Offline/TEST04/verify_performance.txt
closed/Acme/documentation/calibration.md
closed/Acme/measurements/box/resnet50/Offline/README.md
closed/Acme/measurements/box/resnet50/Offline/box_loadrun_Offline.json
closed/Acme/measurements/box/resnet50/Offline/user.conf
closed/Acme/results/box/resnet50/Offline/accuracy/accuracy.txt
closed/Acme/results/box/resnet50/Offline/accuracy/mlperf_log_accuracy.json
closed/Acme/results/box/resnet50/Offline/accuracy/mlperf_log_detail.txt
closed/Acme/results/box/resnet50/Offline/accuracy/mlperf_log_summary.txt
closed/Acme/results/box/resnet50/Offline/performance/run_1/mlperf_log_detail.txt
closed/Acme/results/box/resnet50/Offline/performance/run_1/mlperf_log_summary.txt
closed/Acme/systems/box.json
"""
NEW = """\
closed/Acme/documentation/calibration.md
closed/Acme/results/box/resnet50/Offline/README.md
closed/Acme/results/box/resnet50/Offline/TEST01/accuracy/accuracy.txt
closed/Acme/results/box/resnet50/Offline/TEST01/accuracy/mlperf_log_accuracy.json
closed/Acme/results/box/resnet50/Offline/TEST01/performance/run_1/mlperf_log_detail.txt
closed/Acme/results/box/resnet50/Offline/TEST01/performance/run_1/mlperf_log_summary.txt
closed/Acme/results/box/resnet50/Offline/TEST01/verify_accuracy.txt
closed/Acme/results/box/resnet50/Offline/TEST01/verify_performance.txt
closed/Acme/results/box/resnet50/Offline/TEST04/performance/run_1/mlperf_log_detail.txt
closed/Acme/results/box/resnet50/Offline/TEST04/performance/run_1/mlperf_log_summary.txt
closed/Acme/results/box/resnet50/Offline/TEST04/verify_performance.txt
closed/Acme/results/box/resnet50/Offline/accuracy/accuracy.txt
closed/Acme/results/box/resnet50/Offline/accuracy/mlperf_log_accuracy.json
closed/Acme/results/box/resnet50/Offline/accuracy/mlperf_log_detail.txt
closed/Acme/results/box/resnet50/Offline/accuracy/mlperf_log_summary.txt
closed/Acme/results/box/resnet50/Offline/measurements.json
closed/Acme/results/box/resnet50/Offline/performance/run_1/mlperf_log_detail.txt
closed/Acme/results/box/resnet50/Offline/performance/run_1/mlperf_log_summary.txt
closed/Acme/results/box/resnet50/Offline/user.conf
closed/Acme/src/resnet50/loadrun/README.md
closed/Acme/systems/box.json
"""

_CONF = "closed/Acme/measurements/box/resnet50/Offline/user.conf"
OLDEST = OLD.replace(_CONF, f"{_CONF.replace('user', 'mlperf')}\n{_CONF}")


@pytest.mark.parametrize(
    ("round", "golden"),
    [("v4.1", OLDEST), ("v5.0", OLD), ("v5.1", OLD), ("v6.0", NEW), ("v6.1", NEW)],
)
def test_the_tree_has_the_layout_of_its_round(results: Results, round: str, golden: str) -> None:
    results.complete("Offline")
    layout, against = results.tree(round)
    assert against == []
    files = [path.relative_to(layout.root) for path in layout.root.rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == golden.splitlines()
    assert not [
        path for path in layout.root.rglob("*") if path.is_dir() and not any(path.iterdir())
    ]


def test_older_rounds_want_the_rules_that_loadgen_had(tmp_path: Path) -> None:
    settings = {
        "qsl_rng_seed": ROUNDS["v4.1"].qsl,
        "performance_sample_count_override": 1024,
        "sample_concatenate_permutation": True,
        "server_target_latency_ns": 15_000_000,
        "server_target_latency_percentile": 0.99,
    }
    path = tmp_path / "run.json"
    path.write_text(json.dumps(records.run_json(scenario="Server", settings=settings)))
    assert mlperf_conf(load(path, "")) == (
        "*.*.qsl_rng_seed = 3066443479025735752\n"
        "resnet50.*.performance_sample_count_override = 1024\n"
        "resnet50.*.sample_concatenate_permutation = 1\n"
        "*.Server.target_latency_percentile = 99\n"
        "resnet50.Server.target_latency = 15\n"
    )


def test_the_files_of_the_tree_say_what_the_runs_recorded(results: Results) -> None:
    results.complete("Offline", "SingleStream")
    asked = [options(results.directory, name) for name in ("Offline", "SingleStream")]
    layout, _ = results.tree(ROUND, *asked)
    conf = layout.measurements("resnet50", "Offline") / "user.conf"
    assert conf.read_text() == (
        "resnet50.Offline.target_qps = 103.25\n"
        "resnet50.Offline.min_duration = 600000\n"
        "resnet50.Offline.min_query_count = 24576\n"
    )
    conf = layout.measurements("resnet50", "SingleStream") / "user.conf"
    assert "resnet50.SingleStream.target_latency = 12.5\n" in conf.read_text()
    facts = json.loads(layout.facts("resnet50", "Offline").read_text())
    assert facts["weight_data_types"] == "int8"
    assert facts["starting_weights_filename"] == "synthetic"
    assert all(facts.values())
    readme = (layout.measurements("resnet50", "Offline") / "README.md").read_text()
    assert "`loadrun run resnet50 --images 'my val'`" in readme
    accuracy = layout.results("resnet50", "Offline") / "accuracy"
    whole = hashlib.sha256(b"x" * 10_000).hexdigest()
    text = (accuracy / "accuracy.txt").read_text()
    assert text == f"accuracy=76.000%, good=38000, total=50000\n\nhash={whole}\n"
    assert (accuracy / ACCURACY_LOG).stat().st_size < 10_240
    audited = layout.compliance("resnet50", "Offline", "TEST01") / "accuracy"
    assert hashlib.sha256(b"y" * 9_000).hexdigest() in (audited / "accuracy.txt").read_text()


def test_the_write_up_of_calibration_is_that_of_the_task_and_engine() -> None:
    written = Record.from_json(record("Offline", "PerformanceOnly", None))

    def text(**changes: Any) -> str:
        options = replace(written.options, **changes)
        return calibration("", "box", [replace(written, options=options)])

    assert "rounded to int8 with one scale per output channel" in text()
    bert = text(model="bert-99")
    assert "linear layer multiplies int8" in bert
    assert "over the windows finds" in bert
    assert "onvolution" not in bert
    assert "NNCF" in text(engine="openvino")
    assert "None: the network runs in bf16." in text(model="bert-99.9", precision="bf16")
    for name in models.names():
        assert method_of(models.get(name)).text.format(items="images")


def test_a_tree_of_short_runs_is_marked(results: Results, tmp_path: Path) -> None:
    results.complete("Offline")
    results.run("Offline", unofficial_reasons=["--fast"])
    for _ in range(2):  # the second takes the place of the first
        layout, against = results.tree(ROUND, options(results.directory, "Offline", "--fast"))
    assert against == ["resnet50 Offline: --fast"]
    marked = layout.root / "NOT_SUBMITTABLE-closed-box.md"
    assert "resnet50 Offline: --fast" in marked.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"results", "out"}
    assert {path.name for path in layout.root.iterdir()} == {"closed", marked.name}
    results.complete("Offline")
    assert results.tree()[1] == []
    assert not marked.exists()


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"total": 1_300, "value": 0.8}, "accuracy over 1,300 of 50,000 images"),
        ({"total": 50_000, "value": 0.75}, "accuracy 75.000%, below 75.695%"),
        ({"total": 50_000, "value": 0.75694}, "accuracy 75.694%, below 75.695%"),
    ],
)
def test_what_the_closed_division_asks_of_accuracy(
    results: Results, measured: dict[str, Any], expected: str
) -> None:
    results.complete("Offline")
    results.run("Offline", "AccuracyOnly", accuracy=records.accuracy(**measured))
    assert results.tree()[1] == [f"resnet50 Offline: {expected}"]


def test_a_tree_keeps_the_files_of_other_systems(results: Results) -> None:
    results.complete("Offline")
    layout, _ = results.tree()
    other = layout.home / "results/other/resnet50/Offline/README.md"
    mine = layout.root / ".git/config"
    stale = layout.results("resnet50", "Offline") / "old.txt"
    for path in (other, mine, stale):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    results.tree()
    assert other.read_text() == mine.read_text() == "kept"
    assert not stale.exists()


def test_a_system_may_be_called_as_its_submitter(results: Results) -> None:
    results.complete("Offline")
    runs = [options(results.directory)]
    for system in ("other", "Acme", "results"):
        layout = Layout(results.directory.with_name("out"), ROUND, "closed", "Acme", system)
        write_tree(layout, {"submitter": "Acme"}, runs)
    for system in ("other", "Acme", "results"):
        assert (layout.home / "systems" / f"{system}.json").exists()
        assert (layout.home / "results" / system / "resnet50/Offline/accuracy").is_dir()


def test_systems_share_the_documents_of_a_tree(results: Results) -> None:
    results.complete("Offline")
    runs = [options(results.directory)]
    for system in ("one", "two", "one"):
        layout = Layout(results.directory.with_name("out"), ROUND, "open", "Acme", system)
        if system == "two":
            (layout.home / "model_mapping.json").write_text('{"mobilenet": "resnet"}')
        write_tree(layout, {"submitter": "Acme"}, runs)
    mapping = json.loads((layout.home / "model_mapping.json").read_text())
    assert mapping == {"mobilenet": "resnet", "resnet50": "resnet"}
    document = layout.calibration.read_text()
    assert [line for line in document.splitlines() if line.startswith("#")] == [
        "# Calibration for two",
        "## ResNet-50 v1.5",
        "# Calibration for one",
        "## ResNet-50 v1.5",
    ]


def test_a_tree_that_cannot_be_written_is_one_line(results: Results) -> None:
    results.complete("Offline")
    (results.directory.with_name("out")).write_text("a file")
    with pytest.raises(RunError, match=r"out.*\(--out chooses another place for the tree\)"):
        results.tree()


@pytest.mark.parametrize("size", [0, 100, 8192, 8193, 100_000])
def test_a_truncated_log_keeps_its_ends(tmp_path: Path, size: int) -> None:
    log, place = tmp_path / "log.json", tmp_path / "short.json"
    data = bytes(32 + i % 90 for i in range(size))
    log.write_bytes(data)
    assert truncate(log, place) == hashlib.sha256(data).hexdigest()
    kept = place.read_bytes()
    if size <= 8192:
        assert kept == data
    else:
        assert kept == data[:4096] + b"\n\n...\n\n" + data[-4096:]
    assert len(kept) < 10_240  # the checker's bound


@pytest.mark.parametrize(
    ("system_type", "round", "wanted"),
    [
        ("edge", "v5.0", ("SingleStream", "MultiStream", "Offline")),
        ("edge", "v6.1", ("SingleStream", "MultiStream", "Offline")),
        ("datacenter", "v5.0", ("Server", "Offline")),
        ("datacenter,edge", "v5.0", ("SingleStream", "MultiStream", "Offline", "Server")),
    ],
)
def test_scenarios_of_a_category(system_type: str, round: str, wanted: tuple[str, ...]) -> None:
    rules.check_category(system_type, round, RESNET50)
    assert rules.scenarios(system_type, RESNET50) == wanted


@pytest.mark.parametrize("system_type", ["datacenter", "edge,datacenter"])
def test_later_rounds_have_no_datacenter_resnet50(system_type: str) -> None:
    with pytest.raises(InputError, match=r"round v5\.1 has resnet50 in the edge category only"):
        rules.check_category(system_type, "v5.1", RESNET50)


def filled(path: Path, **changes: Any) -> Path:
    description = describe(read_topology())
    description |= dict.fromkeys(unfilled(description), "something")
    description["number_of_nodes"] = "1"
    description |= {"submitter": "Acme", "division": "closed", "status": "available"}
    path.write_text(json.dumps({**description, "system_type": "edge", **changes}))
    return path


def test_the_description_of_this_machine_names_what_a_person_must_fill() -> None:
    description = describe(read_topology())
    empty = unfilled(description)
    assert {"submitter", "division", "status", "system_type", "cooling"} <= set(empty)
    assert description["host_processor_model_name"]
    assert int(description["host_processor_core_count"]) >= 1
    assert re.fullmatch(r"\d+ GB", description["host_memory_capacity"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cooling": " "}, "fill cooling"),
        ({"division": "network"}, "division is 'network', known: closed, open"),
        ({"system_type": "cloud"}, "system_type is 'cloud', known: edge, datacenter"),
        ({"status": "soon"}, "status is 'soon', known: available, preview, rdi"),
        ({"submitter": "Other"}, "submitter is 'Other', --submitter 'Acme'"),
        ({"accelerators_per_node": 0}, 'accelerators_per_node is 0, must be text ("...")'),
        ({"cooling": None}, "cooling is null, must be text"),
        ({"number_of_nodes": "one"}, "number_of_nodes is 'one', must be a number"),
        ({"is_network": "false"}, "leave out is_network"),
    ],
)
def test_a_description_that_the_checker_would_refuse(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as error:
        read_system(filled(tmp_path / "box.json", **changes), "Acme", read_topology())
    assert words in str(error.value)


def test_the_description_of_another_machine_is_noticed() -> None:
    description = describe(read_topology())
    assert unlike_here(description, read_topology()) == []
    description["host_processor_core_count"] = "9999"
    ((field, given, _),) = unlike_here(description, read_topology())
    assert (field, given) == ("host_processor_core_count", "9999")


def test_descriptions_that_are_none(tmp_path: Path) -> None:
    topology = read_topology()
    bad = tmp_path / "box.json"
    for content, words in (("{", "not JSON"), ("[]", "not an object"), ("{}", "without submitter")):
        bad.write_text(content)
        with pytest.raises(InputError, match=words):
            read_system(bad, "Acme", topology)
    with pytest.raises(InputError, match="doctor --system FILE writes one"):
        read_system(tmp_path / "absent.json", "Acme", topology)
    with pytest.raises(InputError, match="letters, digits"):
        read_system(filled(tmp_path / "my box.json"), "Acme", topology)


def test_complaints_of_both_checkers_have_their_cures() -> None:
    new = (
        "[2026-01-01 10:00:00,000 performance_check.py:1 ERROR] /out/closed/run_1 qsl_rng_seed is"
        " wrong, expected=1, found=2\n"
        "[2026-01-01 10:00:00,000 performance_check.py:1 ERROR] /out/closed/run_2"
        " schedule_rng_seed is wrong, expected=1, found=2\n"
        "[2026-01-01 10:00:00,000 accuracy_check.py:1 WARNING] x accuracy not met: expected=75\n"
        "[2026-01-01 10:00:00,000 base.py:1 ERROR] Some performance checks Checks failed for: x\n"
        "[2026-01-01 10:00:00,000 base.py:1 INFO] All fine\n"
    )
    seeds, accuracy = complaints(new, "/out")
    assert seeds.text == "closed/run_1 qsl_rng_seed is wrong, expected=1, found=2"
    assert seeds.places == 2
    assert "--round" in seeds.cure
    assert "accuracy not met" in accuracy.text
    old = (
        "ERROR:main:closed/Acme has not calibration file. One of x is required\n"
        "ERROR:main:something that nobody has seen\n"
        "WARNING:main:field x is unknown\n"
        "ERROR:main:SUMMARY: submission has errors\n"
    )
    calibration, unknown = complaints(old)
    assert "submit again" in calibration.cure
    assert unknown.text == "something that nobody has seen"
    assert "checker's source" in unknown.cure

    (alone,) = complaints("ERROR:main:x does not have all required scenarios, missing {'Server'}\n")
    assert "missing {'Server'}" in alone.text


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "raise ModuleNotFoundError(\"No module named 'yaml'\")",
            r"pip install 'loadrun\[submit\]'",
        ),
        ("raise SystemExit('it is broken')", "cannot run: it is broken"),
        ("print('--version {v6.0,v6.1}')", r"does not know round v5\.0"),
    ],
)
def test_a_checker_that_will_not_do_is_refused_at_once(
    tmp_path: Path, script: str, expected: str
) -> None:
    main_script = tmp_path / "tools/submission/submission_checker/main.py"
    main_script.parent.mkdir(parents=True)
    main_script.write_text(script)
    with pytest.raises(InputError, match=expected):
        find_checker(tmp_path, ROUND)


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkout of mlcommons/inference"):
        find_checker(tmp_path, ROUND)
    script = tmp_path / "tools/submission/submission_checker.py"
    script.parent.mkdir(parents=True)
    script.write_text("print('--version {v4.1,v5.0}')")
    assert find_checker(tmp_path, ROUND) == script


def test_a_checker_that_ends_half_way_leaves_its_output(tmp_path: Path, results: Results) -> None:
    results.complete("Offline")
    layout, _ = results.tree()
    script, log = tmp_path / "checker.py", tmp_path / "checker.log"
    script.write_text("print('so far'); raise ValueError('odd tree')")
    with pytest.raises(RunError, match="did not come to an end: ValueError: odd tree"):
        check(script, layout, log, ["resnet50"])
    assert log.read_text().startswith("so far")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--round v9", "unknown round 'v9' (known: v1.1, v2.0, "),
        ("--round v5.0 --models mobilenet", "no benchmark of the closed division"),
        ("--round v5.0 --scenarios offline", "edge also asks for SingleStream, MultiStream"),
        ("--round v5.0 --scenarios onlin", "unknown scenario"),
        ("--round v5.0 --scenarios ,", "names nothing"),
        (
            "--round v5.0 --scenarios singlestream,multistream,offline,server",
            "edge has no Server in the closed division",
        ),
        ("--round v5.0 --submitter a/b", "--submitter a/b: it names a directory"),
        ("--round v5.0 --checker .", "no checkout of mlcommons/inference"),
    ],
)
def test_what_cannot_be_submitted_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, expected: str
) -> None:
    path = filled(tmp_path / "box.json")
    given = ["submit", "--submitter", "Acme", "--system", str(path), *words.split()]
    assert main([*given, "--results", str(tmp_path / "results")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not (tmp_path / "results").exists()


def test_an_open_submission_by_real_runs_goes_on_where_it_ended(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    filled(tmp_path / "box.json", division="open")
    words = ["submit", "--submitter", "Acme", "--system", "box.json", "--round", "v6.0"]
    words += ["--models", "mobilenet", "--scenarios", "offline", "--count", "40", *cli.words]
    process = cli.command(*words, "--dry-run")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "mobilenet Offline PerformanceOnly" in output
    assert not (tmp_path / "results").exists()
    process = cli.command(*words)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "NOT SUBMITTABLE" in output
    tree = tmp_path / "results/submission/v6.0"
    mapping = json.loads((tree / "open/Acme/model_mapping.json").read_text())
    assert mapping == {"mobilenet": "resnet"}
    result = tree / "open/Acme/results/box/mobilenet/Offline"
    assert (result / "accuracy/accuracy.txt").read_text().startswith("accuracy=")
    assert (
        '"value": 14276810075590677512'
        in (result / "performance/run_1/mlperf_log_detail.txt").read_text()
    )
    process = cli.command(*words)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "mobilenet Offline AccuracyOnly           there" in output
    assert "starting:" not in output
