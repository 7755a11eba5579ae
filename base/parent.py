"""Leaving when the process that started this one is gone, however it went."""

from __future__ import annotations

import ctypes
import os
import signal

PARENT = "LOADRUN_PARENT"
"""Environment: the pid of the process that started this one and looks after it."""

_PR_SET_PDEATHSIG = 1


def signal_when_parent_dies(number: signal.Signals) -> None:
    """Ask the kernel to send `number` when the parent dies (prctl(2), PR_SET_PDEATHSIG).

    A parent that died before this call sends nothing any more. A signal that was inherited as
    ignored is heeded again.
    """
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Get `number` when the parent dies, at once where it died before this call.

    That is found out by its pid, where it left that in the environment.
    """
    signal_when_parent_dies(number)
    # Taken out: what this process starts in turn has another parent.
    parent = os.environ.pop(PARENT, None)
    if parent is not None and parent != str(os.getppid()):
        os.kill(os.getpid(), number)
