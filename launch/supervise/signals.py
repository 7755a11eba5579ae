"""Signals as flags: handlers note what arrived, the loop that waits acts on it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from types import FrameType
from typing import Any

from base.errors import ExitCode

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_at_once() -> None:
    """From now on an ending signal ends the process with exit code 130: nothing is built yet.

    A KeyboardInterrupt would come out of whatever is being imported, and some libraries turn it
    into an error of their own, or into nothing. A signal that this process was started to ignore
    (nohup, a shell's background job) stays ignored. Main thread only.
    """
    # Inherited from a parent that ignores it, this one would hide how children end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in ENDING:
        if is_heeded(number):
            signal.signal(number, _end)
    if not is_heeded(signal.SIGTERM):
        # Children inherit SIG_IGN, but no handler: it is how launch ends them.
        signal.signal(signal.SIGTERM, _ignore)


def is_heeded(number: signal.Signals) -> bool:
    """Whether the signal does something here, other than being ignored since the start."""
    return signal.getsignal(number) not in (signal.SIG_IGN, _ignore)


def ignore_endings() -> None:
    """Everything is done: an ending signal must not change the exit code any more."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _end(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"loadrun: interrupted by {signal.Signals(number).name}\n".encode())
    os._exit(ExitCode.INTERRUPTED)


class Signals:
    """Catches the signals that end a run, and SIGCHLD, while it is entered (main thread only).

    Those that are ignored stay so. `ending` is the first ending signal (None: none yet) and `count`
    how many came: a second one asks to end without patience.
    """

    def __init__(self) -> None:
        self.ending: signal.Signals | None = None
        self.count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in (*filter(is_heeded, ENDING), signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._read.close()
        self._write.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.ending = self.ending or signal.Signals(number)
            self.count += 1

    def wait(self, timeout_s: float) -> None:
        """Sleep until a signal arrives (a child that ended is one), at most `timeout_s`."""
        select.select([self._read], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            while self._read.recv(4096):
                pass
