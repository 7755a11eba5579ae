"""The completion script for zsh."""

from __future__ import annotations

from collections.abc import Sequence

from launch.completion.words import Argument, Command, Takes

HEAD = """\
#compdef loadrun
# loadrun completion for zsh: source <(loadrun completion zsh)
_loadrun() {
    local -a commands
    commands=(
"""
MIDDLE = """\
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        _arguments '--help[show help]' '--version[print the version]'
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
"""
TAIL = """\
    esac
}
if [[ $funcstack[1] == _loadrun ]]; then
    _loadrun "$@"
else
    compdef _loadrun loadrun
fi
"""


def script(commands: Sequence[Command]) -> str:
    """The whole script."""
    lines = [HEAD]
    lines += [f"        {_quoted(f'{c.name}:{c.summary}')}\n" for c in commands]
    lines.append(MIDDLE)
    for command in commands:
        specs = [_option(name, option) for option in command.options for name in option.names]
        specs += [_position(n, each) for n, each in enumerate(command.positions, 1)]
        body = " \\\n                ".join(specs)
        lines.append(
            f"        {command.name})\n            _arguments \\\n                {body} ;;\n"
        )
    return "".join(lines) + TAIL


def _option(name: str, option: Argument) -> str:
    text = option.help.translate(str.maketrans("[]", "()"))
    spec = f"{name}[{text}]"
    return _quoted(spec if option.takes is Takes.NOTHING else spec + _value(option))


def _position(number: int, argument: Argument) -> str:
    return _quoted(f"{number}{_value(argument)}")


def _value(argument: Argument) -> str:
    offers = {Takes.FILE: "_files", Takes.DIRECTORY: "_files -/"}
    offer = offers.get(argument.takes, f"({' '.join(argument.words)})" if argument.words else " ")
    return f":{argument.metavar}:{offer}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
