"""Why instances died, and what that says of the batches that they worked on."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from launch.supervise.processes import describe_end
from shm.control import Blame

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that no process gets for what it does itself, unless memory runs out."""


class Cause(StrEnum):
    """What ended an instance, as run.json names it."""

    ENDED = "ended by itself"
    CRASHED = "crashed"
    SILENT = "gave no sign of life"
    LATE = "was not ready in time"
    OUT_OF_MEMORY = "out of memory"
    KILLED = "killed from outside"
    STOPPED = "stopped from outside"

    @property
    def blame(self) -> Blame:
        """What it says of the batch in work.

        A kill may be a user's or that of a watchdog which minds what an instance takes.
        """
        if self is Cause.STOPPED:
            return Blame.NONE
        return Blame.HALF if self is Cause.KILLED else Blame.FULL


@dataclass(frozen=True)
class End:
    """How a process ended or has to: `text` goes on from its name."""

    cause: Cause
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass
class Death:
    """An instance that died while the run went on; `at_s` counts from the run's start."""

    instance: int
    at_s: float
    end: str
    cause: Cause
    last_words: str
    restarted: bool = False


def end_of(code: int, memory_ran_out: bool) -> End:
    """Judge a return code (negative: killed by that signal) of a process that nobody here killed.

    `memory_ran_out`: the kernel has killed for want of memory at about that time.
    """
    text = describe_end(code)
    if code >= 0:
        return End(Cause.ENDED, text)
    if -code == signal.SIGKILL and memory_ran_out:
        return End(Cause.OUT_OF_MEMORY, f"{text} (out of memory)")
    return End(Cause.KILLED if -code in FROM_OUTSIDE else Cause.CRASHED, text)


def alarm(deaths: Sequence[Death]) -> str | None:
    """What has to be known before the figures of a run are read; None where nothing has to."""
    silent = [death for death in deaths if death.cause is Cause.SILENT]
    if not silent:
        return None
    times = "Once an instance" if len(silent) == 1 else f"{len(silent)} times an instance"
    which = ", ".join(map(str, sorted({death.instance for death in silent})))
    return (
        f"{times} gave no sign of life, though nobody had stopped it, and was killed"
        f" (instance {which}).\nThe figures are not those of a sound run: an engine hangs or takes"
        " far longer for some batches than for others, or the machine was far too busy (loadrun"
        " doctor)."
    )
