"""Every command that docs/coming-from.md names is one, and the Makefile's lines call loadrun."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import models
from launch.cli import hyphenated, parsers
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


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments of a command line; fails for what nothing accepts, and for unknown models."""
    arguments, unknown = parsers()[0].parse_known_args([hyphenated(word) for word in words])
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
    (line,) = done.stdout.splitlines()
    (called,) = re.findall(r"loadrun ([^;]*)", line)
    parse(shlex.split(called.replace("$one", "bert")))


def test_make_runs_over_the_benchmarks_and_stops_at_a_failure(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    fake = tmp_path / "loadrun"
    fake.write_text('#!/bin/sh\necho "$@"\n[ "$2" != b ]\n')
    fake.chmod(0o755)
    words = ["make", "-s", f"LOADRUN={fake}", "download_data", "BENCHMARKS=a b c"]
    done = subprocess.run(words, cwd=PACKAGE_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout.splitlines() == ["fetch a --data", "fetch b --data"]
