"""How a process or a command ends badly: errors that are one line for the user, and exit codes."""

from __future__ import annotations

from enum import IntEnum

QUOTED = 60


class ExitCode(IntEnum):
    """Exit codes of every command and of every process of a run."""

    OK = 0
    USAGE = 2
    INVALID = 3
    FAILED = 4
    INTERRUPTED = 130


class LoadrunError(Exception):
    """Base of the errors shown to the user as one line; `code` is the exit code."""

    code = ExitCode.FAILED


class InputError(LoadrunError):
    """An option, file or value the user gave is wrong; the message names it and the cure."""

    code = ExitCode.USAGE


class ConfigError(InputError):
    """A configuration cannot be used; the message names the key, its value and the cure."""


class TooLongError(InputError):
    """The test would last far longer than was asked for, which may be what the user wants."""


class RunError(LoadrunError):
    """The run started and failed; the message says what failed."""


class InterruptedRunError(LoadrunError):
    """The user or the system asked the run to end."""

    code = ExitCode.INTERRUPTED


def quoted(value: object) -> str:
    """`value` in one line of at most about 60 characters, for a message about it."""
    text = ascii(value[: QUOTED + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."
