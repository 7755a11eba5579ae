"""Compliance tests: the rules on logs written here, and engines that cheat, caught in real runs."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import records
from cli_process import environment
from PIL import Image
from ragged import RAGGED, Ragged, Sequences
from records import run_json

import models
from launch.commands import run as run_command
from launch.compliance.folder import LOGS
from launch.compliance.metric import metric_held, verify_metric
from launch.compliance.references import PERFORMANCE, at_same_load, command, place, unusable
from launch.compliance.rules import verify_answers, verify_performance
from launch.outcome.results import ACCURACY_LOG
from loadrun.logs import LoadgenResult
from models.task import Score

IMAGES = 300

CACHES = """
seen = set()
honest = sim.SimulatedEngine.answer

def answer(self, batch):
    if not seen.issuperset(batch.positions):
        honest(self, batch)
    seen.update(batch.positions)
    return self._null.answer(batch)
"""
ANSWERS_AT_RANDOM_WHERE_NOBODY_CHECKS = """
import json, random, sys
from pathlib import Path
honest = sim.SimulatedEngine.answer
drawn = random.Random()

def answer(self, batch):
    answers = honest(self, batch)
    test = json.loads((Path(sys.argv[1]).parent / "loadrun.config.json").read_text())
    if test["mode"] == "AccuracyOnly":
        return answers
    return [drawn.randbytes(4) for _ in batch.positions]
"""


def result(
    scenario: str = "Offline", score: float = 100.0, valid: bool = True, limit_ns: int = 15
) -> LoadgenResult:
    keys = {
        "SingleStream": "early_stopping_latency_ss",
        "MultiStream": "early_stopping_latency_ms",
        "Server": "result_completed_samples_per_sec",
        "Offline": "result_samples_per_second",
    }
    fields: dict[str, Any] = {keys[scenario]: score, "effective_target_latency_ns": limit_ns}
    facts: dict[str, Any] = dict.fromkeys(
        ("perf_constraints_met", "min_duration_met", "min_queries_met", "early_stopping_met")
    )
    return LoadgenResult(
        valid=valid,
        scenario=scenario,
        mode="PerformanceOnly",
        metric=None,
        latencies_ns={},
        reasons=[],
        errors=[],
        warnings=[],
        fields=fields,
        **facts,
    )


@pytest.mark.parametrize(
    ("test", "scenario", "reference", "audited", "passed"),
    [
        ("TEST01", "Offline", 100, 90.1, True),
        ("TEST01", "Offline", 100, 89.9, False),
        ("TEST01", "Offline", 100, 110.1, False),
        ("TEST04", "Offline", 100, 50, True),
        ("TEST04", "Offline", 100, 109.9, True),
        ("TEST04", "Offline", 100, 110.1, False),
        ("TEST01", "Server", 100, 109.9, True),
        ("TEST01", "SingleStream", 12e6, 13.1e6, True),
        ("TEST01", "SingleStream", 12e6, 13.3e6, False),
        ("TEST01", "SingleStream", 150e3, 178e3, True),  # short latencies vary more
        ("TEST04", "SingleStream", 12e6, 10.1e6, True),
        ("TEST04", "SingleStream", 12e6, 9.9e6, False),
        ("TEST04", "MultiStream", 12e6, 10.1e6, True),
    ],
)
def test_performance_within_the_tolerance(
    test: str, scenario: str, reference: float, audited: float, passed: bool
) -> None:
    verdict = verify_performance(test, result(scenario, reference), result(scenario, audited))
    assert verdict.passed is passed
    assert verdict.text().endswith("TEST PASS\n" if passed else "TEST FAIL\n")


def test_runs_that_cannot_be_compared_fail() -> None:
    for other in (result(valid=False), result("Server"), result(score=0.0)):
        assert not verify_performance("TEST01", result(), other).passed
        assert not verify_performance("TEST04", other, result()).passed
    limits = result("Server", limit_ns=15), result("Server", limit_ns=10)
    assert "limits differ" in verify_performance("TEST01", *limits).figure


@pytest.mark.parametrize(
    ("scenario", "unique", "same", "passed"),
    [
        ("Offline", 100, 109.9, True),
        ("Offline", 100, 110.1, False),
        ("Offline", 100, 50, True),
        ("SingleStream", 12e6, 10.9e6, True),
        ("SingleStream", 12e6, 10.7e6, False),
        ("SingleStream", 150e3, 121e3, True),  # short latencies vary more
        ("MultiStream", 1e6, 0.85e6, False),  # not here: the scripts of those rounds
    ],
)
def test_the_pair_is_compared_although_it_is_too_short_to_be_valid(
    scenario: str, unique: float, same: float, passed: bool
) -> None:
    results = [result(scenario, score, valid=False) for score in (unique, same)]
    if scenario != "Offline":
        share = {"SingleStream": 0.9, "MultiStream": 0.99}[scenario]
        results = [
            replace(
                result(scenario, 0.0, valid=False),
                latencies_ns={f"p{100 * share:g}": int(score)},
                fields={"effective_target_latency_percentile": share},
            )
            for score in (unique, same)
        ]
    assert verify_performance("TEST04-B", *results).passed is passed


def log(path: Path, answers: list[tuple[int, str]]) -> Path:
    path.write_text(json.dumps([{"seq_id": 0, "qsl_idx": i, "data": d} for i, d in answers]))
    return path


def test_answers_must_be_those_of_the_accuracy_run(tmp_path: Path) -> None:
    known = log(tmp_path / "accuracy.json", [(0, "0A"), (1, "0B"), (2, "0C")])
    same = verify_answers(known, log(tmp_path / "same.json", [(2, "0c"), (0, "0A"), (2, "0C")]))
    assert same.passed
    assert "num_perf_log_qsl_idx_match = 3" in same.lines
    other = verify_answers(known, log(tmp_path / "other.json", [(0, "0A"), (1, "FF")]))
    assert not other.passed
    assert other.figure == "1 of 2 answers differ from the accuracy run's, the first to sample 1"
    assert not verify_answers(known, log(tmp_path / "none.json", [])).passed
    assert not verify_answers(known, log(tmp_path / "strange.json", [(7, "0A")])).passed


class Truth(Ragged):
    """A task whose answers are right where they are their sample's index."""

    def score(self, answers: Mapping[int, bytes], data: object) -> Score:
        good = sum(answer == bytes([index]) for index, answer in answers.items())
        value = 100 * good / len(answers)
        return Score(value, f"accuracy={value:.3f}%, good={good}", len(answers), good)


@pytest.mark.parametrize(
    ("wrong", "share", "passed", "apart"),
    [(1, 0.99, True, "0.503%"), (3, 0.99, False, "1.523%"), (1, 0.999, False, "0.503%")],
)
def test_where_answers_differ_their_metric_decides(
    tmp_path: Path, wrong: int, share: float, passed: bool, apart: str
) -> None:
    right = [(n, f"{n:02x}") for n in range(201)]
    known = log(tmp_path / "accuracy.json", right)
    # Asked again, a sample counts once; what nobody asked for counts in neither.
    found = [(n, "ff") for n in range(wrong)] + right[wrong:200] + [(205, "00")]
    logs = known, log(tmp_path / "audit.json", found)
    benchmark = replace(models.benchmark("resnet50"), share=share)
    answers = verify_answers(*logs)
    verdict = verify_metric(answers, *logs, Truth(), benchmark, Sequences())
    assert not answers.passed
    assert verdict.passed is passed
    assert f"accuracy over 200 samples is {apart} apart" in verdict.figure
    assert verdict.text().endswith("TEST FAIL\n")
    assert verdict.files["baseline_accuracy.txt"] == "accuracy=100.000%, good=200\n"
    for name, text in verdict.files.items():
        (tmp_path / name).write_text(text)
    assert metric_held(tmp_path, benchmark) is passed


def test_a_metric_that_the_checkers_do_not_know_decides_nothing(tmp_path: Path) -> None:
    known = log(tmp_path / "accuracy.json", [(1, "01")])
    logs = known, log(tmp_path / "audit.json", [(1, "02")])
    answers = verify_answers(*logs)
    assert verify_metric(answers, *logs, Truth(), RAGGED.benchmarks[0], Sequences()) is answers
    none = verify_metric(answers, *logs, Truth(), models.benchmark("resnet50"), Sequences())
    assert not none.passed
    assert none.files == {}


class Audits:
    """Runs `loadrun audit` with engine sim, some of whose methods are replaced in all processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.images = directory / "images"
        self.images.mkdir()
        pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(self.images / "000.png")
        for number in range(1, IMAGES):
            (self.images / f"{number:03}.png").symlink_to(self.images / "000.png")
        lines = [f"{number:03}.png {number}\n" for number in range(IMAGES)]
        (self.images / "val_map.txt").write_text("".join(lines))

    def run(
        self, test: str, cheat: str = "", batch_size: int = 2, more: tuple[str, ...] = ()
    ) -> tuple[int, str]:
        """Return exit code and output; missing references are run, and kept."""
        site = self.directory / "site"
        site.mkdir(exist_ok=True)
        patch = f"import netrun.engines.sim as sim\n{cheat}\nsim.SimulatedEngine.answer = answer\n"
        (site / "sitecustomize.py").write_text(patch if cheat else "")
        words = ["audit", "mobilenet", "--tests", test, "--engine", "sim"]
        words += ["--images", str(self.images), "--count", str(IMAGES)]
        words += ["--batch-size", str(batch_size), "--instances", "2", *more]
        done = subprocess.run(
            [sys.executable, "-m", "launch.cli", *words],
            cwd=self.directory,
            env=environment(self.directory / "cache", site),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout

    def written(self, test: str, results: str = "results") -> dict[str, str]:
        """Return the files of a compliance folder: path below it, content."""
        folder = self.directory / results / "compliance" / "mobilenet" / "Offline" / test
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Audits:
    return Audits(tmp_path_factory.mktemp("audits"))


def test_an_honest_engine_gives_the_answers_of_the_accuracy_run(audits: Audits) -> None:
    _, output = audits.run("TEST01")
    assert "accuracy: PASS" in output
    assert "performance: " in output
    assert list(audits.written("TEST01")) == [
        "accuracy/mlperf_log_accuracy.json",
        "performance/run_1/mlperf_log_detail.txt",
        "performance/run_1/mlperf_log_summary.txt",
        "verify_accuracy.txt",
        "verify_performance.txt",
    ]
    home = audits.directory / "results" / "offline" / "mobilenet"
    expected = {
        json.loads((place / "performance/run_1/run.json").read_text())["settings"][
            "offline_expected_qps"
        ]
        for place in (home, home / "TEST01")
    }
    assert len(expected) == 1, "an audit runs at the load of its performance run"


def test_an_engine_that_answers_differently_unchecked_is_caught(audits: Audits) -> None:
    code, output = audits.run("TEST01", ANSWERS_AT_RANDOM_WHERE_NOBODY_CHECKS)
    assert code == 3, output
    assert "accuracy: FAIL" in output
    assert audits.written("TEST01")["verify_accuracy.txt"].endswith("TEST FAIL\n")


def test_an_engine_that_caches_is_caught(audits: Audits) -> None:
    code, output = audits.run("TEST04", CACHES)
    assert code == 3, output
    assert "TEST04: FAIL" in output
    assert audits.written("TEST04")["verify_performance.txt"].endswith("TEST FAIL\n")


def test_the_pair_of_older_rounds_catches_it_too(audits: Audits) -> None:
    code, output = audits.run("TEST04-B", CACHES, more=("--round", "v2.0", "--results", "v2.0"))
    assert code == 3, output
    assert "TEST04-B: FAIL" in output
    assert "TEST04-A: " not in output
    assert "performance: FAIL: TEST04-B / TEST04-A = " in output
    for test in ("TEST04-A", "TEST04-B"):
        written = audits.written(test, "v2.0")
        assert written["verify_performance.txt"].endswith("TEST FAIL\n")
        assert "performance/run_1/mlperf_log_detail.txt" in written
    record = json.loads(
        (
            audits.directory / "v2.0/offline/mobilenet/TEST04-B/performance/run_1/run.json"
        ).read_text()
    )
    assert list(record["compared_with"]) == ["TEST04-A"]


@pytest.mark.parametrize(
    ("scenario", "settings", "qps"),
    [
        ("Offline", {"offline_expected_qps": 103.5}, 103.5),
        ("Server", {"server_target_qps": 60.0}, 60.0),
        ("SingleStream", {"single_stream_expected_latency_ns": 12.5e6}, 80.0),
        ("MultiStream", {"multi_stream_expected_latency_ns": 2e6}, 500.0),
        ("Server", {}, None),
    ],
)
def test_a_compliance_test_has_the_load_of_its_performance_run(
    tmp_path: Path, scenario: str, settings: dict[str, float], qps: float | None
) -> None:
    parser = ArgumentParser()
    run_command.add_arguments(parser)
    words = ["resnet50", f"--scenario={scenario}", "--no-tuned", f"--results={tmp_path}"]
    options = run_command.read_options(parser.parse_args(words))
    reference = place(options, PERFORMANCE)
    reference.mkdir(parents=True)
    (reference / "run.json").write_text(json.dumps(run_json(scenario=scenario, settings=settings)))
    loaded = at_same_load(replace(options, audit="TEST01"))
    assert (loaded.qps, loaded.reference_qps) == (None, qps)


def test_runs_that_cannot_be_compared_are_named_before_any_starts(audits: Audits) -> None:
    references = audits.directory / "results" / "offline" / "mobilenet"
    if not references.exists():
        audits.run("TEST04")
    before = (references / "performance" / "run_1" / "run.json").read_text()
    code, output = audits.run("TEST04", batch_size=1)
    assert code == 2
    message = (
        "run_1/run.json: that run is of another batch size (2, now 1); make it anew: loadrun run"
    )
    assert message in output
    assert "--tests" not in output.splitlines()[-1]
    assert "warming up" not in output
    assert (references / "performance" / "run_1" / "run.json").read_text() == before


@pytest.mark.parametrize(
    ("valid", "qps", "log", "why"),
    [
        (True, None, True, ""),
        (True, 100.02, True, ""),
        (False, None, True, "the one that is there is INVALID"),
        (True, 120.0, True, "the one that is there had a rate of 100, not 120"),
        (True, None, False, "the one that is there is without its mlperf_log_detail.txt"),
    ],
)
def test_a_run_that_no_audit_can_pass_against_is_no_reference(
    tmp_path: Path, valid: bool, qps: float | None, log: bool, why: str
) -> None:
    parser = ArgumentParser()
    run_command.add_arguments(parser)
    words = ["resnet50", "--no-tuned", f"--results={tmp_path}"]
    options = replace(run_command.read_options(parser.parse_args(words)), qps=qps)
    assert unusable(options, PERFORMANCE) == "there is no complete one"
    where = place(options, PERFORMANCE)
    where.mkdir(parents=True)
    for name in LOGS[: 2 if log else 1]:
        (where / name).write_text("")
    record = run_json(
        scenario="Offline",
        result=records.result(valid=valid),
        settings={"offline_expected_qps": 100.0},
    )
    (where / "run.json").write_text(json.dumps(record))
    assert unusable(options, PERFORMANCE) == why


def test_a_reference_whose_accuracy_means_nothing_is_none(tmp_path: Path) -> None:
    parser = ArgumentParser()
    run_command.add_arguments(parser)
    words = ["resnet50", "--no-tuned", f"--results={tmp_path}"]
    options = run_command.read_options(parser.parse_args(words))
    where = place(options, "AccuracyOnly")
    where.mkdir(parents=True)
    for name in (*LOGS, ACCURACY_LOG):
        (where / name).write_text("")
    for doubts, why in (
        ([], ""),
        (["all 9 answers are 3"], "the accuracy of the one that is there means nothing"),
    ):
        record = run_json(
            result=records.result(valid=None), accuracy=records.accuracy(doubts=doubts)
        )
        text = json.dumps(record)
        (where / "run.json").write_text(text)
        assert unusable(options, "AccuracyOnly") == why


def test_the_command_that_makes_a_reference_is_the_audits(tmp_path: Path) -> None:
    parser = ArgumentParser()
    run_command.add_arguments(parser)
    options = run_command.read_options(parser.parse_args(["resnet50", f"--results={tmp_path}"]))
    words = ("loadrun", "audit", "resnet50", "--fast", "--tests", "TEST04", "--images", "a b")
    given = replace(options, command=words)
    assert command(given, PERFORMANCE) == "loadrun run resnet50 --fast --images 'a b'"
    given = replace(options, command=("loadrun", "audit", "resnet50", "--tests=TEST01"))
    assert command(given, "AccuracyOnly") == "loadrun run resnet50 --mode=AccuracyOnly"
    given = replace(options, command=("loadrun", "submit", "--round", "v5.0"))
    assert command(given, PERFORMANCE) == "loadrun run resnet50 --scenario=Offline"


def test_an_invalid_reference_is_run_again(audits: Audits) -> None:
    place = audits.directory / "results" / "offline" / "mobilenet" / "performance" / "run_1"
    if not place.exists():
        audits.run("TEST04")
    record = json.loads((place / "run.json").read_text())
    record["result"]["valid"] = False
    (place / "run.json").write_text(json.dumps(record))
    _, output = audits.run("TEST04")
    assert "the PerformanceOnly run comes first: the one that is there is INVALID" in output
    assert json.loads((place / "run.json").read_text())["run_id"] != record["run_id"]


def test_an_unknown_test_is_named(audits: Audits) -> None:
    code, output = audits.run("TEST1")
    assert code == 2
    assert "unknown audit 'TEST1' (nearest: TEST01" in output
