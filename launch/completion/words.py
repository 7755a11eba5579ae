"""What can stand where on the command line, read from the parsers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import models
from launch.commands.accuracy import DTYPES
from launch.completion import SHELLS
from launch.compliance.settings import AUDITS
from loadrun.dispatch.policies import NAMES as POLICIES
from loadrun.rounds import ROUNDS
from loadrun.scenarios import MODES, SCENARIOS
from netrun.engines import ENGINES, PRECISIONS

HELP_WIDTH = 70
FILES, DIRECTORIES = ("FILE", "PATH", "LOG", "LABELS"), ("DIR",)
"""Metavars behind which a path stands."""


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


def known_words() -> dict[str, tuple[str, ...]]:
    """Values by the name under which an argument is stored (argparse's dest)."""
    published = [file.name for name in models.names() for file in models.get(name).published]
    return {
        "model": tuple(models.names()),
        "scenario": tuple(SCENARIOS),
        "mode": tuple(MODES),
        "policy": tuple(POLICIES),
        "engine": tuple(ENGINES),
        "precision": tuple(PRECISIONS),
        "models": tuple(models.names()),
        "scenarios": tuple(SCENARIOS),
        "round": tuple(ROUNDS),
        "audit": tuple(AUDITS),
        "tests": tuple(AUDITS),
        "shell": SHELLS,
        "dtype": DTYPES,
        "file": tuple(dict.fromkeys(published)),
    }


def read(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    """The words of one command."""
    known = known_words()
    arguments = [_argument(action, known) for action in parser._actions]
    return Command(
        name,
        summary,
        tuple(a for a in arguments if a.names),
        tuple(a for a in arguments if not a.names),
    )


def _argument(action: argparse.Action, known: Mapping[str, tuple[str, ...]]) -> Argument:
    metavar = str(action.metavar or action.dest)
    takes, words = _takes(action, metavar, known)
    return Argument(tuple(action.option_strings), metavar, takes, words, _short(action.help or ""))


def _takes(
    action: argparse.Action, metavar: str, known: Mapping[str, tuple[str, ...]]
) -> tuple[Takes, tuple[str, ...]]:
    if action.nargs == 0:
        return Takes.NOTHING, ()
    if action.choices:
        return Takes.WORDS, tuple(map(str, action.choices))
    if metavar in FILES:
        return Takes.FILE, ()
    if metavar in DIRECTORIES:
        return Takes.DIRECTORY, ()
    # The percentage of one command may be stored as what is a name in another.
    if metavar in ("NAME", "NAMES", "TYPE", "MODEL", "SHELL"):
        return Takes.WORDS, known.get(action.dest, ())
    return Takes.VALUE, ()


def _short(text: str) -> str:
    """The first clause of a help text, in one line."""
    clause = " ".join(text.replace("%%", "%").split())
    for mark in ("; ", ": ", " (", " ["):
        short = clause.partition(mark)[0]
        # What is left of "int8 (default), ..." would tell nothing.
        clause = short if " " in short else clause
    return clause if len(clause) <= HELP_WIDTH else clause[: HELP_WIDTH - 3] + "..."
