"""Whole runs through the command line: LoadGen, rings and workers are real, the engine is not."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cli_process import IMAGES, Cli, arguments_of, wait_for
from leftovers import left_in_shm, semaphores_of
from private_shm import in_private_shm

from launch.machine.topology import read_topology
from shm.arena import ArenaField, ArenaLayout
from shm.control import ControlBlock


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    yield Cli(tmp_path)
    left = [p.cmdline() for p in psutil.process_iter() if tmp_path in arguments_of(p)]
    assert not left
    assert left_in_shm(tmp_path) == []


def test_offline_from_command_to_results(cli: Cli) -> None:
    code, output = cli.run("run", "resnet50", "--fast", "--time", "0.5", "--batch-size", "2")
    # How long the test lasts is the machine's affair, and with it the verdict.
    assert code in (0, 3), output
    assert ("INVALID" if code else "VALID") in output
    assert "not official: --fast" in output
    assert "harness efficiency" in output
    assert output.splitlines()[-1] == "Completed"
    home = cli.directory / "results/offline/resnet50"
    for place in (home, home / "performance/run_1"):
        for name in ("mlperf_log_summary.txt", "mlperf_log_detail.txt", "run.json"):
            assert (place / name).stat().st_size > 0
    record = cli.record("results/offline/resnet50")
    assert (record["schema"], record["status"], record["error"]) == (1, "COMPLETE", None)
    assert record["result"]["valid"] is (code == 0)
    assert record["harness_efficiency"] > 0
    assert record["data"]["name"] == "images"
    assert not record["synthetic"]
    planned = {str(i["index"]): i["processors"] for i in record["plan"]["instances"]}
    for index, binding in record["bindings"]["instances"].items():
        assert binding["processors"] == planned[index]
    assert sum(i["samples"] for i in record["instances"]) > 0
    assert record["deaths"] == []


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["run", "mobilenet", "--scenario", "server", "--qps", "50"], "server/mobilenet"),
        (["run", "resnet50", "--scenario", "multistream"], "multistream/resnet50"),
        (["single-stream", "resnet50"], "singlestream/resnet50"),
        (["single-stream", "resnet50", "--through-ring"], "singlestream/resnet50"),
    ],
    ids=["server", "multistream", "one process", "through a ring"],
)
def test_the_other_scenarios(cli: Cli, words: list[str], place: str) -> None:
    code, output = cli.run(*words, "--fast", "--time", "0.5")
    assert code in (0, 3), output
    record = cli.record(f"results/{place}/performance/run_1")
    assert record["status"] == "COMPLETE"
    assert record["result"]["metric"]["value"] > 0
    assert record["in_process"] == (words == ["single-stream", "resnet50"])
    engine = record["engines"]["0"]
    assert engine["details"]["service"]
    assert (engine["rate"] is None) == record["in_process"]
    assert engine["phases_s"]["ready"] > 0
    assert (code == 3) == (not record["result"]["valid"])
    if code == 3:
        assert "INVALID because" in output
        assert "cure: " in output


def test_accuracy_ends_with_the_official_line(cli: Cli) -> None:
    code, output = cli.run("run", "resnet50", "--mode", "AccuracyOnly", "--count", "20")
    assert code == 0, output
    found = next(line for line in output.splitlines() if line.startswith("accuracy="))
    assert found.endswith("total=20")
    assert "not official: --count 20" in output
    record = cli.record("results/offline/resnet50/accuracy")
    assert record["accuracy"]["text"] == found
    log = json.loads(
        (cli.directory / "results/offline/resnet50/mlperf_log_accuracy.json").read_text()
    )
    assert sorted(entry["qsl_idx"] for entry in log) == list(range(20))
    assert all(len(entry["data"]) == 8 for entry in log), "int32"


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_a_count_alone_sets_the_length_of_a_test(cli: Cli, scenario: str) -> None:
    words = ["--scenario", scenario, "--count", "40", "--qps", "50"]
    code, output = cli.run("run", "resnet50", *words)
    record = cli.record(f"results/{scenario}/resnet50")
    assert sum(i["samples"] for i in record["instances"]) == 40
    assert record["result"]["errors"] == []
    assert record["unofficial_reasons"][0] == "--count 40"
    assert "minimum duration 0 s, below 600 s" in output
    if scenario == "offline":
        assert code == 0, output
    else:  # 40 queries are too few for the 99th percentile
        assert code == 3, output
        assert "cure: run longer (--count)" in output


def refused_in_private_shm(cli: Cli, options: str, *before: str) -> str:
    """A run whose /dev/shm is a tmpfs with `options` must end before LoadGen starts."""
    error = cli.refused([*in_private_shm(options), *before], 120)
    assert not (cli.directory / "results").exists()
    return error


def test_a_dev_shm_too_small_is_one_line(cli: Cli) -> None:
    error = refused_in_private_shm(cli, "size=1m")
    needed = ArenaLayout(IMAGES, (ArenaField("pixels", "|u1", (230, 230, 3)),)).size
    assert f"needs 3.6 MiB ({needed} bytes) of shared memory" in error
    assert "has 1.0 MiB (1048576 bytes) free" in error
    assert "--shm-size" in error


def test_a_full_dev_shm_is_one_line(cli: Cli) -> None:
    shutil.rmtree(cli.directory / "cache")  # the semaphores of those who preprocess need room
    fill = 'head -c 4096 /dev/zero >/dev/shm/full; exec "$@"'
    error = refused_in_private_shm(cli, "size=4k", "sh", "-c", fill, "sh")
    assert "No space left on device" in error
    assert "/dev/shm" in error


def test_a_submission_run_fills_both_places(cli: Cli) -> None:
    code, output = cli.run("run", "resnet50", "--mode", "submissionrun", "--fast", "--time", "1")
    assert code == 0, output
    assert "accuracy=" in output
    for place in ("performance/run_1", "accuracy"):
        assert cli.record(f"results/offline/resnet50/{place}")["mode"] == "SubmissionRun"


def test_a_reader_that_goes_away_does_not_end_the_run(cli: Cli) -> None:
    process = cli.start("run", "resnet50", "--fast", "--time", "1")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert cli.record("results/offline/resnet50")["status"] == "COMPLETE"


def test_json_of_an_audit_with_a_plan_too_large(cli: Cli) -> None:
    words = ["run", "resnet50", "--instances", "999", "--cores", "3996", "--audit", "test04"]
    words += ["--json", "--fast", "--time", "0.5", *cli.words]
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=cli.directory,
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    record = json.loads(done.stdout)
    assert record["status"] == "COMPLETE"
    assert record["settings"]["performance_issue_same"] is True
    assert "audit TEST04" in record["unofficial_reasons"]
    assert (cli.directory / "results/offline/resnet50/TEST04/performance/run_1/run.json").exists()
    assert record["plan"]["fitted"]
    assert len(record["plan"]["instances"]) == len(read_topology().cores)
    assert "Asked for: 999 instances on 3996 processors" in done.stderr
    assert "*" * 40 in done.stderr
    assert done.stderr.splitlines()[-1] == "Completed"


def test_weights_that_do_not_fit(cli: Cli) -> None:
    weights = cli.directory / "weights.pth"
    weights.write_bytes(b"these are no weights")
    cli.words = ("--images", str(cli.images), "--weights", str(weights))
    code, output = cli.run("run", "resnet50", "--fast")
    assert code == 2, output
    assert f"loadrun: error: {weights}: not a PyTorch state dictionary" in output
    assert not (cli.directory / "results").exists()


def test_a_test_of_hours_is_refused_where_nobody_can_be_asked(cli: Cli) -> None:
    code, output = cli.run("run", "resnet50", "--fast", "--qps", "26000")
    assert code == 2, output
    error = output.splitlines()[-1]
    assert error.startswith("loadrun: error: expected duration ")
    assert "times the 1 min asked for: --qps 26000 asks for 1,716,000 samples" in error
    assert error.endswith("or give --yes to run it all the same")
    assert not (cli.directory / "results").exists()


def test_an_interrupted_run_says_so(cli: Cli) -> None:
    process = cli.start("run", "resnet50", "--time", "600")
    home = cli.directory / "results/offline/resnet50"
    wait_for(lambda: list(home.glob(".staging-*/netrun_0.json")))
    # As a terminal does: to the whole group.
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "interrupted by SIGINT" in output
    (place,) = (home / "failed").iterdir()
    record = json.loads((place / "run.json").read_text())
    assert record["status"] == "INTERRUPTED"
    assert not list(home.glob(".staging-*"))


def test_signals_that_were_ignored_from_the_start_stay_ignored(cli: Cli) -> None:
    # As nohup does, and a shell for what it runs in the background; SIGCHLD as some daemons do.
    ignoring = ["env", "--ignore-signal=HUP,INT,CHLD"]
    process = cli.start("run", "resnet50", "--fast", "--time", "3", before=ignoring)
    home = cli.directory / "results/offline/resnet50"
    wait_for(lambda: list(home.glob(".staging-*/netrun_0.json")))
    children = psutil.Process(process.pid).children()
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
        for child in children:
            if "loadrun.config" in " ".join(child.cmdline()):
                child.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (0, 3), output
    assert output.splitlines()[-1] == "Completed"


def test_an_ignored_sigterm_still_ends_the_children(cli: Cli) -> None:
    ignoring = ["env", "--ignore-signal=TERM"]
    process = cli.start("run", "resnet50", "--time", "600", before=ignoring)
    home = cli.directory / "results/offline/resnet50"
    wait_for(lambda: list(home.glob(".staging-*/netrun_0.json")))
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    # Ignored: only the interrupt that follows is reported.
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, "interrupted by SIGINT" in output) == (130, True)
    (place,) = (home / "failed").iterdir()
    assert json.loads((place / "loadrun.json").read_text())["status"] == "INTERRUPTED"
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_run_that_stood_still_is_invalid(cli: Cli) -> None:
    process = cli.start("run", "resnet50", "--fast", "--time", "4")
    home = cli.directory / "results/offline/resnet50"

    def answering() -> bool:
        for staging in home.glob(".staging-*/netrun_0.json"):
            with ControlBlock.attach(staging.parent.name.removeprefix(".staging-")) as control:
                return control.instance(0).samples > 0
        return False

    wait_for(answering)
    launch = psutil.Process(process.pid)
    family = [launch, *launch.children(recursive=True)]
    for member in family:
        member.suspend()
    # As a paused container is: the test is of the time that passes.
    time.sleep(2.5)
    for member in family:
        member.resume()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert "INVALID because all processes stood still for 2." in output
    record = cli.record("results/offline/resnet50")
    assert (record["result"]["valid"], record["times_count"]) == (False, False)


def test_a_closed_terminal_ends_the_run(cli: Cli) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        words = ["-m", "launch.cli", "run", "resnet50", "--time", "600", *cli.words]
        os.chdir(cli.directory)
        os.execve(sys.executable, [sys.executable, *words], cli.environment)
    home = cli.directory / "results/offline/resnet50"
    with contextlib.suppress(OSError):
        # A terminal that nobody reads fills up and stops who writes to it.
        while not list(home.glob(".staging-*/netrun_0.json")):
            os.read(terminal, 65536)
    children = psutil.Process(pid).children(recursive=True)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert not psutil.wait_procs(children, timeout=0)[1]
    (place,) = (home / "failed").iterdir()
    record = json.loads((place / "run.json").read_text())
    assert (record["status"], record["error"]) == ("INTERRUPTED", "interrupted by SIGHUP")


def test_interrupted_while_preparing(cli: Cli) -> None:
    cli.words = ("--engine", "sim")  # synthetic images, which take seconds to draw
    process = cli.start("run", "resnet50")
    tree: list[psutil.Process] = []
    semaphores: set[Path] = set()

    def drawing() -> bool:
        # The child that prepares, its pool's workers, and their semaphores.
        tree[:] = psutil.Process(process.pid).children(recursive=True)
        semaphores.update(*(semaphores_of(member.pid) for member in tree))
        return len(tree) > 2 and bool(semaphores)

    wait_for(drawing)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive
    # The pool's semaphores are gone too.
    wait_for(lambda: not any(path.exists() for path in semaphores), 20)


def test_a_killed_launch_leaves_nothing_running(cli: Cli) -> None:
    process = cli.start("run", "resnet50", "--time", "600")
    home = cli.directory / "results/offline/resnet50"
    wait_for(lambda: list(home.glob(".staging-*/netrun_0.json")))
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.communicate(timeout=30)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    # The next run, or this, files what it left.
    clean = cli.command("clean")
    output, _ = clean.communicate(timeout=30)
    assert clean.returncode == 0, output
    (place,) = (home / "failed").iterdir()
    assert json.loads((place / "run.json").read_text())["status"] == "INTERRUPTED"
