"""An option of the command line as plain data, declared once by whoever reads its value.

A command declares its options as fields (`launch.options.declare.option`), a task in its folder
(`models.options`); parser, help, completion, words for child processes and records follow. Readers
of a value raise argparse's ArgumentTypeError, which becomes the one line of the user.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, TypeVar
from unicodedata import category

from base.errors import quoted

LONGEST = 200
"""Characters of a text that stands in a line of its own."""
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""They turn the direction of all that follows on the line, whoever wrote that."""
WRITTEN = "file to write"
"""What an option's path names where it need not be there yet."""
Number = TypeVar("Number", int, float)


class Goes(Flag):
    """Where the value of an option goes, beside to whoever looks at it."""

    NOWHERE = 0
    LOADRUN = auto()
    """To the loadrun process: the field of this name of its configuration."""
    INSTANCES = auto()
    """To each instance: the field of this name of its configuration."""
    RECORD = auto()
    """Into run.json, under its name."""
    KIND = auto()
    """Of the record: runs that differ in it are not compared at all."""
    SETTING = auto()
    """Of the record: a comparison says so where two runs differ in it."""
    AUDIT = auto()
    """Of the record: a compliance test and the runs it is held against must agree in it."""
    SHOWN = auto()
    """Of the record: summary, page and index show it where it is given."""


@dataclass(frozen=True)
class Option:
    """One option, or an argument without a flag.

    `usage` is how it is written: `--instances N`, `--strict`, `--[no-]tuned` (a switch and its
    opposite), `MODEL`. `parse` reads the word behind the flag; `names` are the values that it
    knows, for completion. `path` says what has to stand there where the value names a path: "file",
    "directory" or "directory or file"; `variable` of the environment can stand for such an option.
    `title` is what people call the value. `of_data` is what people call it where it is a part of
    the data that the user gives: it is nothing without them, and a variable for it belongs to those
    that a variable names.
    """

    usage: str
    help: str
    group: str = ""
    parse: Callable[[str], Any] = str
    default: Any = None
    names: Callable[[], Iterable[str]] | None = None
    path: str = ""
    variable: str = ""
    goes: Goes = Goes.NOWHERE
    title: str = ""
    of_data: str = ""

    @property
    def flag(self) -> str:
        """`--instances`; "" for an argument without one."""
        word = self.usage.partition(" ")[0].replace("[no-]", "")
        return word if word.startswith("--") else ""

    @property
    def metavar(self) -> str:
        """What the help calls the value; "" for a switch."""
        return self.usage.rpartition(" ")[2] if not self.switch else ""

    @property
    def switch(self) -> bool:
        """Whether it stands alone."""
        return " " not in self.usage and bool(self.flag)

    @property
    def negatable(self) -> bool:
        """Whether it is a switch that has an opposite."""
        return "[no-]" in self.usage

    @property
    def name(self) -> str:
        """What the value is called where the declaration has no name, as a field would."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def explained(self) -> str:
        """The help, with the variable that stands for the option."""
        return f"{self.help} [{self.variable}]" if self.variable else self.help

    def words(self, value: Any) -> list[str]:
        """What to write on a command line for `value`; nothing for None, and an unset switch."""
        if value is None:
            return []
        if self.switch:
            if value:
                return [self.flag]
            return [f"--no-{self.flag.removeprefix('--')}"] if self.negatable else []
        text = _text(value)
        return [f"{self.flag}={text}" if self.flag else text]


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, int, 1, "a whole number of at least 1")


def whole(text: str) -> int:
    """A whole number of at least 0."""
    return _number(text, int, 0, "a whole number of at least 0")


def positive(text: str) -> float:
    """A number above 0."""
    return _number(text, float, sys.float_info.min, "a number above 0")


def one_line(text: str) -> str | None:
    """A text of one line, at most LONGEST characters of it; None for one that says nothing."""
    text = text.strip()
    if any(category(c) in ("Cc", "Cs", "Zl", "Zp") or c in TURNING for c in text):
        raise argparse.ArgumentTypeError(f"{quoted(text)} holds control characters: leave them out")
    if len(text) > LONGEST:
        raise argparse.ArgumentTypeError(f"is {len(text)} characters long; give at most {LONGEST}")
    return text or None


def _number(text: str, kind: type[Number], least: float, expected: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = kind(-1)
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not {expected}")
    return value


def _text(value: Any) -> str:
    """A value as `parse` reads it back: numbers exactly, in as few digits as that takes."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
