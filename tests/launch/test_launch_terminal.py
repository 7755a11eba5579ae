"""What the user reads: boxes, bars, notices, the summary of a record."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from launch import terminal as terminal_module
from launch.announcement import data_notices, unofficial_reasons
from launch.cli import Parser
from launch.commands.run import add_arguments, read_options
from launch.options import RunOptions
from launch.summary import summary
from launch.tail import Tail
from launch.terminal import Terminal
from launch.watch import RunWatcher
from shm.control import RunState


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def options(*words: str) -> RunOptions:
    parser = Parser()
    add_arguments(parser)
    return read_options(parser.parse_args(["resnet50", *words]))


def record(**changes: Any) -> dict[str, Any]:
    return {
        "model": "resnet50",
        "scenario": "Server",
        "mode": "PerformanceOnly",
        "audit": None,
        "engine": "onednn",
        "precision": "int8",
        "synthetic": True,
        "result": {
            "valid": False,
            "metric": {"name": "completed samples", "value": 41.25, "unit": "samples/s"},
            "latencies_ns": {"p50": 5_000_000, "p99": 17_500_000, "mean": 6_000_000},
            "invalid": [{"reason": "it was slow", "cure": "be quick"}],
            "errors": [],
        },
        "standalone_rate": 90.0,
        "harness_efficiency": None,
        "deaths": [],
        "redispatched_samples": 0,
        "unofficial_reasons": ["--fast"],
        **changes,
    }


def test_summary_of_an_invalid_run() -> None:
    lines = summary(record())
    assert lines[0].endswith("synthetic")
    assert "  completed samples: 41.25 samples/s  INVALID" in lines
    assert "  INVALID because it was slow" in lines
    assert "    cure: be quick" in lines
    assert "  latency in ms: p50 5  p99 17.5" in lines
    assert "  not official: --fast" in lines


def test_summary_tells_of_deaths_and_efficiency() -> None:
    text = "\n".join(
        summary(record(deaths=[{}, {}], redispatched_samples=12, harness_efficiency=0.987))
    )
    assert "2 times an instance died; 12 samples were re-dispatched" in text
    assert "0.987 of the instances' 90 samples/s" in text


@pytest.mark.parametrize(("value", "said"), [(0.7615, "reached"), (0.75, "missed")])
def test_summary_ends_with_the_official_accuracy_line(value: float, said: str) -> None:
    line = "accuracy=76.146%, good=38073, total=50000"
    accuracy = {"text": line, "value": value, "target": 0.76456 * 0.99}
    lines = summary(record(synthetic=False, accuracy=accuracy))
    assert lines[-1] == line
    assert lines[-2] == f"  MLPerf's accuracy target of 75.691%: {said}"
    assert "synthetic" not in lines[0]


def test_a_box_cannot_be_missed() -> None:
    stream = io.StringIO()
    Terminal(stream).box("PLAN", "word " * 60 + "\nsecond paragraph")
    lines = stream.getvalue().splitlines()
    assert lines[0] == lines[-1] == "*" * terminal_module.WIDTH
    assert {len(line) for line in lines} == {terminal_module.WIDTH}
    assert any("second paragraph" in line for line in lines)


def test_a_bar_without_a_terminal_writes_rare_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    with terminal.bar("testing") as bar:
        bar.update(1, 10, "first")
        assert stream.getvalue() == ""
        monkeypatch.setattr(terminal_module, "PLAIN_INTERVAL_S", 0.0)
        bar.update(5, 10, "half")
        terminal.line("said meanwhile")
    assert stream.getvalue() == "testing: 50% half\nsaid meanwhile\n"


def test_a_bar_on_a_terminal_is_drawn_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_module, "DRAWN_INTERVAL_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    stream = Tty()
    terminal = Terminal(stream)
    with terminal.bar("testing") as bar:
        bar.update(5, 10, "[half]")
        terminal.line("said [bold]meanwhile")
    text = stream.getvalue()
    assert "50%" in text
    assert "said [bold]meanwhile" in text
    assert text.endswith("\x1b[1A\x1b[2K"), "the bar is gone"


def test_the_watcher_names_phases_and_expected_time(tmp_path: Path) -> None:
    report = tmp_path / "loadrun.json"
    report.write_text(json.dumps({"expected_duration_s": 66.0}))
    stream = io.StringIO()
    terminal = Terminal(stream)
    with terminal.bar("testing") as bar:
        watcher = RunWatcher(terminal, bar, report)
        watcher.phase(RunState.WARMUP)
        watcher.progress(None)
        watcher.loadrun_says("a line of some library")
        watcher.loadrun_says("loadrun: 90 samples/s measured; expected duration 66 s")
        watcher.progress(10)
        watcher.notice("instance 1 was killed")
    assert stream.getvalue().splitlines() == [
        "warming up: measuring what the instances can do",
        "90 samples/s measured; expected duration 66 s",
        "  note: instance 1 was killed",
    ]


def test_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = Tail(log)
    assert tail.lines() == []
    with log.open("w") as file:
        file.write("one\ntw")
        file.flush()
        assert tail.lines() == ["one"]
        file.write("o\n")
        file.flush()
        assert tail.lines() == ["two"]
    assert tail.lines() == []


def test_notices_about_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEIGHTS", "IMAGES", "LABELS", "CALIBRATION"):
        monkeypatch.delenv(f"LOADRUN_{name}", raising=False)
    weights = tmp_path / "w.pth"
    weights.touch()
    real = ["--weights", str(weights), "--images", str(tmp_path)]
    assert data_notices(options()) == []
    assert "images are synthetic" in data_notices(options(*real[:2]))[0]
    assert "weights are synthetic" in data_notices(options(*real[2:]))[0]
    assert "--calibration" in data_notices(options(*real))[0]
    assert data_notices(options(*real, "--calibration", str(tmp_path))) == []
    assert data_notices(options(*real, "--precision", "fp32")) == []
    assert "computes nothing" in data_notices(options("--engine", "null"))[0]


def test_reasons_that_a_result_is_not_official() -> None:
    assert unofficial_reasons(options(), 99, synthetic=False, reported=[]) == []
    words = ["--fast", "--count", "99", "--engine", "sim", "--audit", "TEST01"]
    reasons = unofficial_reasons(options(*words), 99, True, ["too short"])
    assert reasons == [
        "--fast",
        "--count 99",
        "too short",
        "engine sim",
        "synthetic weights or data",
        "audit TEST01",
    ]


@pytest.mark.parametrize(("count", "reasons"), [("98", ["--count 98"]), ("99", [])])
def test_accuracy_over_all_images_is_official(count: str, reasons: list[str]) -> None:
    asked = options("--mode", "AccuracyOnly", "--count", count)
    assert unofficial_reasons(asked, 99, synthetic=False, reported=[]) == reasons
