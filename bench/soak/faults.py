"""The faults that the processes of a run suffer."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

STALL_LIMIT_S = 1.0
"""The runs' --stall-limit."""
BRIEF_S = 0.3
"""A stop that is none: shorter than the stall limit."""


@dataclass(frozen=True)
class Fault:
    """`act` does it to the process it is meant for: launch, loadrun or an instance.

    `codes` are the exit codes of launch that it may lead to, besides those of a run that
    completes; `within_s` is how long launch may then take.
    """

    name: str
    target: str
    act: Callable[[psutil.Process], None]
    codes: tuple[int, ...] = ()
    within_s: float = 10.0

    @property
    def ends_the_run(self) -> bool:
        """Whether the run cannot complete after it."""
        return bool(self.codes)


def _send(number: signal.Signals) -> Callable[[psutil.Process], None]:
    return lambda process: process.send_signal(number)


def _briefly(process: psutil.Process) -> None:
    process.suspend()
    time.sleep(BRIEF_S)
    process.resume()


def _twice(process: psutil.Process) -> None:
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)


def _with_loadrun(launch: psutil.Process) -> None:
    """As the out-of-memory killer may: nobody is left to remove the segments."""
    both = [child for child in launch.children() if _module(child) in _MODULES["loadrun"]]
    for process in (*both, launch):
        process.kill()


INSTANCE_FAULTS = (
    Fault("instance SIGKILL", "netrun", _send(signal.SIGKILL)),
    Fault("instance SIGSEGV", "netrun", _send(signal.SIGSEGV)),
    Fault("instance SIGTERM", "netrun", _send(signal.SIGTERM)),
    Fault("instance SIGSTOP", "netrun", _send(signal.SIGSTOP)),
    Fault("instance SIGSTOP, 0.3 s", "netrun", _briefly),
)
RUN_FAULTS = (
    Fault("loadrun SIGKILL", "loadrun", _send(signal.SIGKILL), (4,)),
    Fault("loadrun SIGSEGV", "loadrun", _send(signal.SIGSEGV), (4,)),
    Fault("loadrun SIGSTOP", "loadrun", _send(signal.SIGSTOP), (4,)),
    Fault("launch SIGKILL", "launch", _send(signal.SIGKILL), (-9,), 5.0),
    Fault("launch and loadrun SIGKILL", "launch", _with_loadrun, (-9,), 5.0),
    Fault("launch SIGINT", "launch", _send(signal.SIGINT), (130,), 5.0),
    Fault("launch SIGINT twice", "launch", _twice, (130,), 5.0),
    Fault("launch SIGTERM", "launch", _send(signal.SIGTERM), (130,), 5.0),
    Fault("launch SIGHUP", "launch", _send(signal.SIGHUP), (130,), 5.0),
)
_MODULES = {"netrun": ("netrun",), "loadrun": ("loadrun", "launch.single")}


def find(launch: psutil.Process, target: str, draw: random.Random) -> psutil.Process | None:
    """A process of the run that `target` names, None while there is none."""
    if target == "launch":
        return launch
    try:
        found = [child for child in launch.children() if _module(child) in _MODULES[target]]
    except psutil.Error:
        return None
    return draw.choice(found) if found else None


def _module(process: psutil.Process) -> str | None:
    """What follows -m on its command line."""
    words = [*process.cmdline(), "-m", None]
    name: str | None = words[words.index("-m") + 1]
    return name
