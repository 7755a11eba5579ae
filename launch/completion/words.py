"""What can stand where on the command line, read from the parsers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import Enum

from launch.options.declare import offered

HELP_WIDTH = 70
FILES, DIRECTORIES = ("FILE", "PATH", "LOG", "LABELS"), ("DIR",)
"""Metavars behind which a path stands."""
NAMES = ("NAME", "NAMES", "TYPE", "MODEL", "SHELL")
"""Those behind which one of a few names stands, which a declaration says (`names`, `offer`)."""


class Takes(Enum):
    """What follows an option, or stands in a position."""

    NOTHING = "nothing"
    WORDS = "words"
    FILE = "file"
    DIRECTORY = "directory"
    VALUE = "value"


@dataclass(frozen=True)
class Argument:
    """An option (`names`) or a position (none); `words` are what it takes, where they are known."""

    names: tuple[str, ...]
    metavar: str
    takes: Takes
    words: tuple[str, ...]
    help: str


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    name: str
    summary: str
    options: tuple[Argument, ...]
    positions: tuple[Argument, ...]


def read(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    """The words of one command."""
    arguments = [_argument(action) for action in parser._actions]
    return Command(
        name,
        summary,
        tuple(a for a in arguments if a.names),
        tuple(a for a in arguments if not a.names),
    )


def _argument(action: argparse.Action) -> Argument:
    metavar = str(action.metavar or action.dest)
    takes, words = _takes(action, metavar)
    return Argument(tuple(action.option_strings), metavar, takes, words, _short(action.help or ""))


def _takes(action: argparse.Action, metavar: str) -> tuple[Takes, tuple[str, ...]]:
    if action.nargs == 0:
        return Takes.NOTHING, ()
    if words := offered(action):
        return Takes.WORDS, words
    if metavar in FILES:
        return Takes.FILE, ()
    if metavar in DIRECTORIES:
        return Takes.DIRECTORY, ()
    if metavar in NAMES:
        return Takes.WORDS, ()
    return Takes.VALUE, ()


def _short(text: str) -> str:
    """The first clause of a help text, in one line."""
    clause = " ".join(text.replace("%%", "%").split())
    for mark in ("; ", ": ", " (", " ["):
        short = clause.partition(mark)[0]
        # The rest of "int8 (default), ..." would explain nothing.
        clause = short if " " in short else clause
    return clause if len(clause) <= HELP_WIDTH else clause[: HELP_WIDTH - 3] + "..."
