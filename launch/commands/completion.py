"""`loadrun completion SHELL`: print a script that completes loadrun's words."""

from __future__ import annotations

import argparse

from launch.commands.arguments import EXIT_CODES, one_of
from launch.completion import SHELLS
from launch.options.declare import offer

SUMMARY = "print a script that completes commands, options and names in a shell"
DESCRIPTION = """\
Prints a script for bash, zsh or fish that completes commands, options, the names that options take
(models, scenarios, policies, ...) and files. It is made from the commands themselves: print it anew
after an update.
"""
EPILOG = f"""\
examples:
  source <(loadrun completion bash)           # in ~/.bashrc
  source <(loadrun completion zsh)            # in ~/.zshrc, after compinit
  loadrun completion fish > ~/.config/fish/completions/loadrun.fish

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    offer(parser.add_argument("shell", metavar="SHELL", help="bash, zsh or fish"), lambda: SHELLS)


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from importlib import import_module

    from launch.cli import parsers
    from launch.completion.words import read

    shell = one_of("SHELL", arguments.shell, SHELLS)
    _, commands = parsers()
    words = [read(name, parser.summary, parser) for name, parser in commands.items()]
    print(import_module(f"launch.completion.{shell}").script(words), end="")
    return 0
