"""The completion script for bash (4 or newer; needs no package)."""

from __future__ import annotations

from collections.abc import Sequence

from launch.completion.words import Argument, Command, Takes

HEAD = """\
# loadrun completion for bash: source <(loadrun completion bash)
_loadrun() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= word
    COMPREPLY=()
    # bash takes --option=value for three words.
    if [[ $current == = ]]; then
        current=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word != -* ]]; then
            command=$word
            break
        fi
    done
    case "$command $before" in
"""
TAIL = """\
}
_loadrun_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}
_loadrun_paths() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
}
complete -F _loadrun loadrun
"""
PATHS = {Takes.FILE: "-f", Takes.DIRECTORY: "-d"}


def script(commands: Sequence[Command]) -> str:
    """The whole script."""
    lines = [HEAD]
    for command in commands:
        for option in command.options:
            if option.takes is not Takes.NOTHING:
                pattern = "|".join(f'"{command.name} {name}"' for name in option.names)
                lines.append(f"        {pattern}) {_offer(option)}; return ;;\n")
    lines.append('    esac\n    case "$command" in\n')
    names = " ".join([*(command.name for command in commands), "--help", "--version"])
    lines.append(f'        "") _loadrun_words "{names}" "$current" ;;\n')
    for command in commands:
        options = " ".join(name for option in command.options for name in option.names)
        lines.append(
            f"        {command.name})\n"
            f"            if [[ $current == -* ]]; then\n"
            f'                _loadrun_words "{options}" "$current"\n'
            f"            else\n"
            f"                {_offer(command.positions[0]) if command.positions else ':'}\n"
            f"            fi ;;\n"
        )
    lines.append("    esac\n")
    return "".join(lines) + TAIL


def _offer(argument: Argument) -> str:
    if argument.takes in PATHS:
        return f'_loadrun_paths {PATHS[argument.takes]} "$current"'
    if not argument.words:
        return ":"
    return f'_loadrun_words "{" ".join(argument.words)}" "$current"'
