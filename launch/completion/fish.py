"""The completion script for fish."""

from __future__ import annotations

from collections.abc import Sequence

from launch.completion.words import Argument, Command, Takes

HEAD = """\
# loadrun completion for fish: loadrun completion fish | source
complete -c loadrun -f
complete -c loadrun -n __fish_use_subcommand -l version -d 'print the version'
complete -c loadrun -n __fish_use_subcommand -l help -d 'show help'
"""


def script(commands: Sequence[Command]) -> str:
    """The whole script."""
    lines = [HEAD]
    for command in commands:
        lines.append(
            f"complete -c loadrun -n __fish_use_subcommand -a {command.name}"
            f" -d {_quoted(command.summary)}\n"
        )
        seen = f"complete -c loadrun -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            names = " ".join(_flag(name) for name in option.names)
            lines.append(f"{seen} {names}{_value(option)} -d {_quoted(option.help)}\n")
        lines += [f"{seen}{_value(position)}\n" for position in command.positions[:1]]
    return "".join(lines)


def _flag(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _value(argument: Argument) -> str:
    if argument.takes is Takes.NOTHING:
        return ""
    if argument.takes is Takes.FILE:
        return " -r -F"
    if argument.takes is Takes.DIRECTORY:
        return " -x -a '(__fish_complete_directories)'"
    return f" -x -a {_quoted(' '.join(argument.words))}" if argument.words else " -x"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
