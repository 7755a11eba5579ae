"""What the end of an instance says of its batch, and how it is reported."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_process import Cli, environment
from PIL import Image

from launch.machine.oom import OomKills
from launch.machine.recording import Recorded
from launch.outcome.poison import Poison, read_poison
from launch.outcome.record.run import Record
from launch.outcome.summary import summary
from launch.report.page import run_page
from launch.screen.terminal import framed
from launch.supervise.deaths import Cause, Death, alarm, end_of
from loadrun.report import Report
from shm.control import Blame

POISON = 5
MODULE = """
import os, signal, sys, time

def patch():
    import pathlib
    from netrun import worker
    from netrun.engines import sim

    answer, measure_rate = sim.SimulatedEngine.answer, worker.measure_rate
    warming_up = []

    def unharmed(*arguments):
        # The warm-up finds the image, too.
        warming_up.append(True)
        rate = measure_rate(*arguments)
        warming_up.clear()
        return rate

    def harmed(self, batch):
        for sample in batch.views("pixels") if not warming_up else ():
            # Gray with its border, not noise.
            if sample.max() - sample.min() < 64:
                HARM
        return answer(self, batch)

    worker.measure_rate = unharmed
    sim.SimulatedEngine.answer = harmed

if "netrun" in sys.orig_argv:
    patch()
"""


@pytest.mark.parametrize(
    ("code", "memory_ran_out", "cause", "blame"),
    [
        (0, False, Cause.ENDED, Blame.FULL),
        (4, True, Cause.ENDED, Blame.FULL),
        (-signal.SIGSEGV, False, Cause.CRASHED, Blame.FULL),
        (-signal.SIGABRT, True, Cause.CRASHED, Blame.FULL),
        (-signal.SIGKILL, False, Cause.KILLED, Blame.HALF),
        (-signal.SIGKILL, True, Cause.OUT_OF_MEMORY, Blame.FULL),
        (-signal.SIGTERM, True, Cause.KILLED, Blame.HALF),
    ],
)
def test_who_is_to_blame(code: int, memory_ran_out: bool, cause: Cause, blame: Blame) -> None:
    end = end_of(code, memory_ran_out)
    assert (end.cause, end.cause.blame) == (cause, blame)


def test_a_stop_says_nothing_and_silence_all() -> None:
    assert Cause.STOPPED.blame is Blame.NONE
    assert Cause.SILENT.blame is Blame.FULL


@pytest.mark.parametrize(
    ("cgroup", "file", "text"),
    [
        ("0::/box/run", "sys/fs/cgroup/box/run/memory.events", "oom 3\noom_kill {}\n"),
        ("0::/../seen", "sys/fs/cgroup/memory.events", "low 0\noom_kill {}\n"),
        ("7:memory:/box", "sys/fs/cgroup/memory/box/memory.oom_control", "oom_kill {}\n"),
        ("0::/", "proc/vmstat", "pgfault 12\noom_kill {}\n"),
    ],
    ids=["cgroup", "container", "version 1", "machine"],
)
def test_kills_for_want_of_memory_are_noticed(cgroup: str, file: str, text: str) -> None:
    files = {"proc/self/cgroup": f"{cgroup}\n", "proc/vmstat": "oom_kill 8\n"}
    tree = Recorded(files)
    files[file] = text.format(2)
    kills = OomKills(tree)
    assert not kills.rose()
    files[file] = text.format(3)
    assert kills.rose()
    assert not kills.rose()


def test_without_a_counter_memory_never_ran_out() -> None:
    assert not OomKills(Recorded({})).rose()


def death(instance: int, cause: Cause, words: str = "") -> Death:
    return Death(instance, 1.0, f"died ({instance})", cause, words)


def test_poison_is_one_message() -> None:
    crashed = [death(i % 2, Cause.CRASHED, f"words {i}") for i in range(3)]
    report = Report("loadrun.json", poison={"samples": [7], "deaths": [[1, 0], [0, 1]]})
    one = read_poison(report, crashed, lambda samples: ["x.png"])
    assert one is not None
    assert one.deaths == [crashed[1], crashed[2]]
    assert str(one) == (
        "sample 7 (x.png) ends every instance that works on it: instance 1 died (1), instance 0"
        " died (0); last lines of instance 1:\nwords 1; last lines of instance 0:\nwords 2"
    )
    assert read_poison(None, crashed, lambda samples: []) is None
    assert read_poison(Report("loadrun.json"), crashed, lambda samples: []) is None
    several = str(Poison(list(range(10)), [None] * 10, [death(0, Cause.SILENT)]))
    assert several.startswith("one of samples 0, 1, 2, 3, 4, 5, 6, 7 and 2 more ends")
    assert several.endswith("; they printed nothing")


def test_only_silence_that_nobody_caused_raises_an_alarm() -> None:
    others = [death(0, cause) for cause in Cause if cause is not Cause.SILENT]
    assert alarm(others) is None
    once = alarm([*others, death(3, Cause.SILENT)])
    assert once is not None
    assert once.startswith("Once an instance gave no sign of life")
    more = alarm([death(i, Cause.SILENT) for i in (3, 1, 3)])
    assert more is not None
    assert "3 times" in more
    assert "(instance 1, 3)" in more


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path)
    gray = np.full((64, 80, 3), 128, np.uint8)
    Image.fromarray(gray).save(cli.images / f"{POISON:03}.png")
    yield cli


def harm(cli: Cli, statement: str) -> None:
    """Have each instance do this when it meets the gray image."""
    modules = cli.directory / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(MODULE.replace("HARM", statement))
    cli.environment = environment(cli.directory / "cache", modules)


def test_a_poisoned_run_says_which_image(cli: Cli) -> None:
    harm(cli, "os.kill(os.getpid(), signal.SIGSEGV)")
    words = ("--mode", "AccuracyOnly", "--batch-size", "8", "--instances", "2", "--oversubscribe")
    code, output = cli.run("run", "resnet50", *words)
    assert code == 4, output
    (failed,) = cli.directory.glob("results/offline/resnet50/failed/*")
    record = cli.record(str(failed))
    assert [found["cause"] for found in record["deaths"]] == ["crashed"] * 2
    poison = record["poison"]
    assert POISON in poison["samples"]
    assert poison["files"] == [f"{sample:03}.png" for sample in poison["samples"]]
    named = ", ".join(f"{sample} ({sample:03}.png)" for sample in poison["samples"])
    assert f"loadrun: error: one of samples {named} ends every instance" in output


def test_silence_is_shown_above_the_result(cli: Cli) -> None:
    marker = cli.directory / "hung"
    harm(cli, f"m = pathlib.Path({str(marker)!r}); m.exists() or (m.touch(), time.sleep(600))")
    words = ("--mode", "AccuracyOnly", "--batch-size", "4", "--instances", "2", "--oversubscribe")
    code, output = cli.run("run", "resnet50", *words, "--stall-limit", "1")
    assert code == 0, output
    record = cli.record("results/offline/resnet50/accuracy")
    assert record["deaths"][0]["cause"] == "gave no sign of life"
    assert "gave no sign of life, though nobody had stopped it" in record["alarm"]
    box = framed("SILENT INSTANCES", record["alarm"])
    lines = summary(Record.from_json(record))
    assert lines[: len(box)] == box
    assert output.index("\n".join(box)) < output.index("results: ")
    page = run_page(Record.from_json(record))
    alarm_line = record["alarm"].splitlines()[0]
    assert page.index(alarm_line) < page.index('class="headline"')
