"""What the user reads: boxes, bars, notices, the summary of a record."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import records

from launch.cli import Parser
from launch.commands.run import add_arguments, read_options
from launch.machine.plan import InstancePlan
from launch.options import RunOptions
from launch.outcome.advice import advice, limit_share
from launch.outcome.record.run import Record
from launch.outcome.spread import spread
from launch.outcome.summary import summary
from launch.run import new_run_id
from launch.screen import terminal as terminal_module
from launch.screen.announcement import data_notices, unofficial_reasons
from launch.screen.live.meter import Reading
from launch.screen.terminal import Terminal
from launch.screen.watch import RunWatcher, Watched
from launch.supervise.tail import Tail
from loadrun.report import InstanceReport
from shm.control import ControlBlock, InstanceState, RunState


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def options(*words: str) -> RunOptions:
    parser = Parser()
    add_arguments(parser)
    return read_options(parser.parse_args(["resnet50", *words]))


def outcome(**changes: Any) -> dict[str, Any]:
    return records.result(
        **{
            "metric": {"name": "completed samples", "value": 41.25, "unit": "samples/s"},
            "latencies_ns": {"p50": 5_000_000, "p99": 17_500_000, "mean": 6_000_000},
            "invalid": [{"reason": "it was slow", "cure": "be quick"}],
            **changes,
        }
    )


def record(**changes: Any) -> Record:
    plain = {"result": outcome(), "standalone_rate": 90.0, "instances": [], "settings": {}}
    return records.record(**{**plain, **changes})


def test_summary_of_an_invalid_run() -> None:
    lines = summary(record())
    assert lines[0].endswith("synthetic")
    assert "  completed samples: 41.25 samples/s  INVALID" in lines
    assert "  INVALID because it was slow" in lines
    assert "    cure: be quick" in lines
    assert "  latency in ms: p50 5  p99 17.5" in lines
    assert "  not official: --fast" in lines


def test_long_latencies_stay_readable() -> None:
    result = outcome(latencies_ns={"p50": 40_998_793_989, "p90": 999_400_000})
    assert "  latency in ms: p50 40999  p90 999.4" in summary(record(result=result))


def test_summary_names_reference_kernels_once() -> None:
    def engines(references: dict[str, list[int]]) -> dict[str, Any]:
        return {str(i): {"details": {"references": references}} for i in range(2)}

    notes = [line for line in summary(record(engines=engines({"pool": [1]}))) if "oneDNN" in line]
    assert notes == [
        "  note: oneDNN has only its reference kernel, which is very slow, for pool"
        " (1 sample at once)"
    ]
    without: list[dict[str, Any]] = [engines({}), {"0": {"details": {}}}, {}]
    for found in without:
        assert not any("oneDNN" in line for line in summary(record(engines=found)))


def test_summary_reports_deaths_and_efficiency() -> None:
    text = "\n".join(
        summary(
            record(deaths=[records.death()] * 2, redispatched_samples=12, harness_efficiency=0.987)
        )
    )
    assert "2 times an instance died; 12 samples were re-dispatched" in text
    assert "0.987 of the instances' 90 samples/s" in text


def instance(index: int, samples: int, busy_s: float) -> InstanceReport:
    return InstanceReport(index, samples, batches=1, busy_s=busy_s, rate=50.0)


def served_by(instances: list[InstanceReport], **changes: Any) -> Record:
    return record(instances=[asdict(done) for done in instances], **changes)


def test_summary_names_an_instance_that_stands_out() -> None:
    even = [instance(i, 100 + i, 2.0) for i in range(3)]
    (line,) = [x for x in summary(served_by(even)) if "3 instances" in x]
    assert line == (
        "  3 instances: samples/s at work: least 50, median 50.5, most 51; samples: 100, 101, 102"
    )
    slow = [*even, instance(3, 60, 2.0)]
    (line,) = [x for x in summary(served_by(slow)) if "4 instances" in x]
    assert line.endswith("; slowest: instance 3, 60% of the median")
    assert spread(even[:1]) is None
    assert spread([instance(0, 0, 0.0), instance(1, 5, 1.0)]) is None


def test_summary_is_short_and_names_the_files() -> None:
    even = [instance(i, 100, 2.0) for i in range(2)]
    place = Path("/r/performance/run_1")
    lines = summary(served_by(even, harness_efficiency=0.99), [place])
    assert lines[0] == f"results: {place}"
    assert len(lines) <= 11


def test_summary_reports_a_fitted_plan() -> None:
    plan = records.plan(fitted=True, requested=[14, 56])
    expected = "asked for: 14 instances on 56 processors"
    assert any(line.endswith(expected) for line in summary(record(plan=plan)))


def test_summary_explains_a_missing_accuracy() -> None:
    lines = summary(record(mode="AccuracyOnly", labels_from=None))
    assert lines[-1] == "  note: the images have no labels: no accuracy (cure: --labels)"
    lines = summary(record(mode="AccuracyOnly", labels_from="1001 sub-folders: move one away"))
    assert lines[-1] == "  note: the images have no labels: 1001 sub-folders: move one away"


def test_summary_explains_an_accuracy_that_means_nothing() -> None:
    accuracy = records.accuracy(text="accuracy=0.9%", value=0.009, doubts=["it is odd"])
    *_, why, last = summary(record(mode="AccuracyOnly", accuracy=accuracy))
    assert why == "  INVALID because the accuracy means nothing: it is odd"
    assert last == "accuracy=0.9%"


def valid(p99: int = 17_500_000, **changes: Any) -> Record:
    result = outcome(valid=True, invalid=[], latencies_ns={"p99": p99})
    return record(**{"unofficial_reasons": [], "result": result, **changes})


LIMIT = {"server_target_latency_ns": 15_000_000, "server_target_latency_percentile": 0.99}


def test_advice_for_server() -> None:
    find = "loadrun find-qps resnet50"
    tune = "loadrun tune resnet50 --scenario server"
    assert [a.partition(":")[0] for a in advice(record())] == [find, tune]
    finished = valid(6_000_000, settings=LIMIT)
    assert limit_share(finished) == 0.4
    assert advice(finished)[0] == f"{find}: a higher rate (the latency is at 40% of its limit)"
    assert any(line.endswith("(40% of the limit)") for line in summary(finished))
    finished = valid(45_000_000, settings=LIMIT)
    assert any(line.endswith("(3 limits)") for line in summary(finished))
    finished = valid(14_000_000, settings=LIMIT)
    assert [a.partition(":")[0] for a in advice(finished)] == [tune]


def test_advice_names_only_what_remains_to_do() -> None:
    assert advice(valid(scenario="Offline", tuned="offline.json")) == []
    assert advice(valid(scenario="Offline", engine="sim")) == []
    assert advice(valid(mode="AccuracyOnly")) == []
    checks = [
        {"check": "governor", "level": "matters", "found": "powersave"},
        {"check": "swap", "level": "note", "found": "on"},
    ]
    left: dict[str, Any] = {
        "checks": checks,
        "unofficial_reasons": ["calibrated on the served images"],
    }
    given = advice(valid(scenario="Offline", **left))
    assert given[0] == "loadrun doctor: what slows this machine (governor)"
    assert given[1].startswith("--calibration DIR")
    assert given[2].startswith("loadrun tune resnet50 --scenario offline")
    assert len(advice(record(**left))) == 3


def test_advice_carries_what_the_run_was_given() -> None:
    words = ["loadrun", "run", "resnet50", "--fast", "--max-latency=100", "--images", "a b"]
    find, tune = (line.partition(":")[0] for line in advice(record(command=words)))
    assert find == "loadrun find-qps resnet50 --max-latency=100 --images 'a b'"
    assert tune == "loadrun tune resnet50 --scenario server --max-latency=100 --images 'a b'"
    finished = record(command=[*words, "--precision", "fp32"], precision="fp32")
    (tune,) = (line.partition(":")[0] for line in advice(finished))
    assert tune.endswith("--precision fp32")
    assert advice(record(times_count=False)) == []


@pytest.mark.parametrize(("value", "verdict"), [(0.7615, "reached"), (0.75, "missed")])
def test_summary_ends_with_the_official_accuracy_line(value: float, verdict: str) -> None:
    line = "accuracy=76.146%, good=38073, total=50000"
    accuracy = records.accuracy(text=line, value=value, target=0.7646 * 0.99)
    lines = summary(record(synthetic=False, accuracy=accuracy))
    assert lines[-1] == line
    assert lines[-2] == f"  MLPerf's accuracy target of 75.695%: {verdict}"
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


def test_the_watcher_names_phases_and_expected_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_module, "PLAIN_INTERVAL_S", 0.0)
    report = tmp_path / "loadrun.json"
    report.write_text(json.dumps({"expected_duration_s": 66.0, "expected_samples": 6000}))
    stream = io.StringIO()
    run = Watched("r1", "resnet50", "Offline", (), False, report)
    with RunWatcher(Terminal(stream), run) as watcher:
        watcher.phase(RunState.WARMUP)
        watcher.progress()
        watcher.loadrun_printed("a line of some library")
        watcher.loadrun_printed("loadrun: 90 samples/s measured; expected duration 66 s")
        monkeypatch.setattr(watcher, "_look_at", 0.0)
        watcher.progress()
        watcher.notice("instance 1 was killed")
    assert stream.getvalue().splitlines() == [
        "warming up: measuring what the instances can do",
        "90 samples/s measured; expected duration 66 s",
        "testing: 0% 0 s of about 1 min 6 s",
        "  note: instance 1 was killed",
    ]


def test_the_watcher_sees_what_one_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_module, "PLAIN_INTERVAL_S", 0.0)
    now = [100.0]
    monkeypatch.setattr("launch.screen.watch.time.monotonic", lambda: now[0])
    run_id = new_run_id()
    stream = io.StringIO()
    run = Watched(
        run_id, "resnet50", "SingleStream", [InstancePlan(0, (0,), 0)], True, tmp_path / "no.json"
    )
    with contextlib.closing(ControlBlock.create(run_id, 1)) as control:
        try:
            with RunWatcher(Terminal(stream), run) as watcher:
                watcher.attached(control)
                control.instance(0).state = InstanceState.READY
                watcher.phase(RunState.RUNNING)
                watcher.loadrun_printed("loadrun: 90 samples/s measured; expected duration 66 s")
                control.instance(0).samples = 180
                now[0] += 2
                watcher.progress()
                reading = watcher._reading
        finally:
            control.unlink()
    assert reading is not None
    assert (reading.done, reading.instances[0].in_flight) == (180, 1)
    assert stream.getvalue().splitlines()[-1] == "testing: 2 s, 180 samples, 90 samples/s"


def test_the_clock_of_a_view_starts_with_the_first_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("launch.screen.watch.time.monotonic", lambda: now[0])
    readings = [Reading(done, 0.0, []) for done in (0, 0, 40, 90)]

    class Scripted:
        def look(self, now_ns: int) -> Reading:
            return readings.pop(0)

    run = Watched("r1", "resnet50", "Server", (), False, tmp_path / "none.json")
    with RunWatcher(Terminal(io.StringIO()), run) as watcher:
        monkeypatch.setattr(watcher, "_meter", Scripted())
        watcher.phase(RunState.RUNNING)
        watcher.loadrun_printed("loadrun: 90 samples/s measured; expected duration 66 s")
        lines = []
        while readings:
            now[0] += 5
            watcher.progress()
            lines.append(str(watcher._progress()))
    assert lines == [
        "5 s, 0 samples, 0 samples/s",
        "10 s, 0 samples, 0 samples/s",
        "5 s, 40 samples, 8 samples/s",
        "10 s, 90 samples, 9 samples/s",
    ]
    # The test is over while the view still stands.
    watcher.phase(RunState.STOPPING)
    now[0] += 50
    watcher.progress()
    assert str(watcher._progress()) == lines[-1]


def test_a_terminal_that_cannot_draw_over_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert Terminal(Tty()).interactive
    assert not Terminal(Tty()).draws
    monkeypatch.setenv("TERM", "xterm")
    assert Terminal(Tty()).draws
    assert not Terminal(io.StringIO()).draws


def test_a_silent_terminal_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal.silent()
    terminal.line("a line")
    terminal.box("PLAN", "a box")
    with terminal.bar("testing") as bar:
        bar.update(1, 2, "half")
    assert capsys.readouterr() == ("", "")


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


@pytest.mark.parametrize(("typed", "agreed"), [(b"y\n", True), (b"\n", False), (b"\x04", False)])
def test_a_question_on_a_terminal_wants_a_yes(typed: bytes, agreed: bool) -> None:
    code = (
        "from launch.screen.terminal import Terminal; terminal = Terminal();"
        "print(terminal.answers, terminal.agrees('run it?'))"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    output = b""
    with contextlib.suppress(OSError):
        while b"[y/N] " not in output:
            output += os.read(terminal, 1024)
        os.write(terminal, typed)
        while True:
            output += os.read(terminal, 1024)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert f"True {agreed}".encode() in output


def test_a_question_is_for_a_terminal() -> None:
    assert not Terminal(io.StringIO()).answers
