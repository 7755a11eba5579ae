"""Every command that docs/coming-from.md names is one, and some of each kind run to their end."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import IMAGES, Cli

import models
from launch.cli import main, parsers
from launch.spellings import INSTEAD, SAME, hyphenated
from launch.supervise.environment import PACKAGE_ROOT

PAGE = (PACKAGE_ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
OURS = ("loadrun ", "make ", "launch/")


def commands() -> list[str]:
    """The code in all columns but the first that is a command of ours."""
    found = []
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith("| there"):
            found += [c for cell in line.split(" | ")[1:] for c in re.findall("`([^`]+)`", cell)]
    return [command for command in dict.fromkeys(found) if command.startswith(OURS)]


COMMANDS = commands()
PARSER, OURS_BY_NAME = parsers()


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments of a command line; fails for what nothing accepts, and for unknown models."""
    arguments, unknown = PARSER.parse_known_args([hyphenated(word) for word in words])
    assert unknown == []
    named = [getattr(arguments, "model", None)]
    for option in ("benchmarks", "models"):
        named += (getattr(arguments, option, None) or "").split(",")
    for name in filter(None, named):
        models.get(name)
    return arguments


def test_there_are_commands_of_each_kind() -> None:
    for kind, least in zip(OURS, (40, 8, 4), strict=True):
        assert sum(command.startswith(kind) for command in COMMANDS) >= least


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("loadrun ")])
def test_our_commands_are_accepted(command: str) -> None:
    _, *words = shlex.split(command)
    parse(words)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("launch/")])
def test_our_scripts_call_what_is_accepted(command: str, tmp_path: Path) -> None:
    script, *words = shlex.split(command)
    shutil.copy(PACKAGE_ROOT / script, tmp_path)
    fake = tmp_path / "loadrun"
    fake.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ["bash", str(tmp_path / Path(script).name), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    parse(done.stdout.splitlines())


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_the_makefiles_lines_call_what_is_accepted(command: str) -> None:
    _, *words = shlex.split(command)
    done = subprocess.run(
        ["make", "-n", "LOADRUN=loadrun", *words],
        cwd=PACKAGE_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    line = done.stdout.splitlines()[-1]
    (called,) = re.findall(r"loadrun ([^;|]*)", line)
    parse(shlex.split(called.replace("$one", "bert")))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `make` with a `loadrun` that says its words, and fails for the word b."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    fake = tmp_path / "loadrun"
    fake.write_text('#!/bin/sh\necho "$@"\n[ "$2" != b ]\n')
    fake.chmod(0o755)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "-s", f"LOADRUN={fake}", *words],
            cwd=PACKAGE_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_make_runs_over_all_benchmarks_and_fails_where_one_failed(
    make: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = make("download_data", "BENCHMARKS=a b c")
    assert done.returncode == 2
    assert done.stdout.splitlines() == ["fetch a --data", "fetch b --data", "fetch c --data"]
    assert make("download_data", "BENCHMARKS=a c").returncode == 0


def test_every_target_of_theirs_is_there(
    make: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    text = (PACKAGE_ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"\.PHONY:((?:.*\\\n)*.*)", text)
    assert targets is not None
    for target in targets.group(1).replace("\\", " ").split():
        done = make(target, "BENCHMARKS=a")
        assert done.returncode == 0, done.stderr
        assert bool(done.stdout) != (target == "setup")
    named = re.findall(r"`make (\w+)", PAGE)
    assert set(named) <= set(targets.group(1).replace("\\", " ").split())


def test_other_spellings_of_an_option_are_that_option() -> None:
    values = {"--user-conf": str(PACKAGE_ROOT / "user.conf"), "--images": str(PACKAGE_ROOT)}
    for theirs, ours in SAME.items():
        name = "run-all" if theirs == "--offline-target-qps" else "run"
        words = [name] if name == "run-all" else [name, "resnet50"]
        spelled = theirs.replace("-", "_").replace("__", "--", 1)
        value = values.get(ours, "3")
        assert vars(parse([*words, f"{spelled}={value}"])) == vars(parse([*words, ours, value]))
        assert theirs not in OURS_BY_NAME[name].format_help()
    # What a command has itself under that name stays what it is.
    assert parse(["build", "resnet50", "--threads=3"]).threads == 3


def test_what_has_no_such_option_says_what_to_write_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {flag for command in OURS_BY_NAME.values() for flag in command._option_string_actions}
    for ours in INSTEAD.values():
        assert {*re.findall(r"--[a-z-]+", ours)} <= known, ours
        assert {*re.findall(r"loadrun ([a-z-]+)", ours)} <= {*OURS_BY_NAME}, ours
    assert not {*INSTEAD} & {*OURS_BY_NAME["run"]._option_string_actions}
    with pytest.raises(SystemExit) as ended:
        main(["run", "resnet50", "--server_target_qps=3"])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    target = "--server-target-qps"
    assert f"unknown option '{target}' (here: {INSTEAD[target]})" in line
    assert line.count("\n") == 1


def test_rows_of_each_kind_run_as_they_stand(tmp_path: Path) -> None:
    """With an engine that answers at once, in a folder of the user's own."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    cli = Cli(tmp_path)
    loadrun = tmp_path / "loadrun"
    # What the rows do not say comes from outside: the engine here, the images by variable.
    run = f'exec {sys.executable} -m launch.cli "$@"'
    loadrun.write_text(f"#!/bin/sh\ncase $1 in run*) {run} --engine=null;; esac\n{run}\n")
    loadrun.chmod(0o755)
    shutil.copy(PACKAGE_ROOT / "launch" / "run_loadrun.sh", tmp_path)
    accuracy = f"total={IMAGES}"
    rows = {
        "launch/run_loadrun.sh 11 offline 14 resnet50 56 AccuracyOnly": accuracy,
        "loadrun run resnet50 --count 100": "VALID",
        'make run_harness RUN_ARGS="--benchmarks=resnet50 --scenarios=SingleStream'
        ' --config_ver=default --test_mode=AccuracyOnly"': accuracy,
        "loadrun report": "results/index.html: 3 runs",
    }
    for row, expected in rows.items():
        assert row in COMMANDS
        command, *words = shlex.split(row)
        if command == "make":
            words = ["-s", "-f", str(PACKAGE_ROOT / "Makefile"), f"LOADRUN={loadrun}", *words]
        else:
            command = str(tmp_path / Path(command).name)
        done = subprocess.run(
            [command, *words],
            cwd=tmp_path,
            env={**cli.environment, "LOADRUN_IMAGES": str(cli.images)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout, done.stdout
    for place in ("offline/resnet50/accuracy", "offline/resnet50/performance/run_1"):
        assert cli.record(f"results/{place}")["model"] == "resnet50"
