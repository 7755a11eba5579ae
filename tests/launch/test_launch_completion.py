"""Shell completion: what the scripts offer, asked of a shell that has really read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import models
from launch.cli import COMMANDS, main, parsers
from launch.completion.words import Command, Takes, read
from loadrun.scenarios import SCENARIOS

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "loadrun.bash"
    path.write_text(capsys.readouterr().out)
    return path


def complete(script: Path, line: str, directory: Path) -> set[str]:
    """What bash offers at the end of `line`, whose last word is the one begun."""
    words = [word for word in line.replace("=", " = ").split(" ") if word]
    if line.endswith(" "):
        words.append("")
    quoted = " ".join(f"'{word}'" for word in words)
    asked = (
        f"source {script}\n"
        "complete -p loadrun >/dev/null || exit 9\n"
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _loadrun\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", asked],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def commands() -> dict[str, Command]:
    _, found = parsers()
    return {name: read(name, parser.summary, parser) for name, parser in found.items()}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("loadrun ", {*COMMANDS, "--help", "--version"}),
        ("loadrun fi", {"find-qps"}),
        ("loadrun --ver", {"--version"}),
        ("loadrun run ", {*models.choices()}),
        ("loadrun run mob", {"mobilenet"}),
        ("loadrun run resnet50 --scenario ", {*SCENARIOS}),
        ("loadrun run resnet50 --scenario S", {"SingleStream", "Server"}),
        ("loadrun run resnet50 --scenario=Off", {"Offline"}),
        ("loadrun run resnet50 --scenario=", {*SCENARIOS}),
        ("loadrun run resnet50 --policy r", {"round_robin"}),
        ("loadrun run resnet50 --qui", {"--quiet"}),
        ("loadrun run resnet50 --no-t", {"--no-tuned"}),
        ("loadrun run resnet50 --qps ", set()),
        ("loadrun find-qps resnet50 --precision ", set()),
        ("loadrun tune resnet50 --precision ", {"int8", "bf16", "fp32"}),
        ("loadrun completion ", {*SHELLS}),
        ("loadrun accuracy --dtype f", {"float32"}),
        ("loadrun unknown --", set()),
    ],
)
def test_bash_offers(script: Path, tmp_path: Path, line: str, offered: set[str]) -> None:
    assert complete(script, line, tmp_path) == offered


def test_bash_offers_files_and_folders_where_they_are_wanted(script: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").touch()
    (tmp_path / "wanted").mkdir()
    assert complete(script, "loadrun run --weights w", tmp_path) == {"weights.pth", "wanted"}
    assert complete(script, "loadrun run --images w", tmp_path) == {"wanted"}
    assert complete(script, "loadrun accuracy we", tmp_path) == {"weights.pth"}


def test_every_name_that_an_option_takes_is_known() -> None:
    for command in commands().values():
        for argument in (*command.options, *command.positions):
            if argument.takes is Takes.WORDS:
                assert argument.words, (command.name, argument.names or argument.metavar)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_of_every_command_is_in_the_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    for command in commands().values():
        assert command.name in printed
        for option in command.options:
            for name in option.names:
                long = f"-l {name[2:]} " if name.startswith("--") else f"-s {name[1:]} "
                assert (long if shell == "fish" else name) in f"{printed} "


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_the_script(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    path = tmp_path / "script"
    path.write_text(capsys.readouterr().out)
    done = subprocess.run([found, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fihs"]) == 2
    assert "SHELL fihs: unknown (nearest: fish" in capsys.readouterr().err
