"""The two ways in which a command ends badly, each with its exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    USAGE = 2
    INVALID = 3
    FAILED = 4
    INTERRUPTED = 130


class LaunchError(Exception):
    """Base of the errors shown to the user as one line; `code` is the exit code."""

    code = ExitCode.FAILED


class InputError(LaunchError):
    """An option, file or value the user gave is wrong; the message names it and the cure."""

    code = ExitCode.USAGE


class TooLongError(InputError):
    """The test would last far longer than was asked for, which may be what the user wants."""


class RunError(LaunchError):
    """The run started and failed; the message says what failed."""


class InterruptedRunError(LaunchError):
    """The user or the system asked the run to end."""

    code = ExitCode.INTERRUPTED
