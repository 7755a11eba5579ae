"""Short time slices for the process that LoadGen's clock drives.

Linux (EEVDF, from 6.12) runs the thread with the earliest deadline, and a shorter slice is an
earlier deadline: a thread of loadrun that wakes for a query no longer waits for an instance on the
same processor to use up its 3 ms. It asks for no larger share of the processor and needs no
privilege (sched_setattr(2), `sched_runtime` of SCHED_OTHER); threads made later inherit it.
"""

from __future__ import annotations

import ctypes
import os
import platform

_SLICE_NS = 100_000
"""The shortest that Linux grants."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SCHED_OTHER = 0


class _Attributes(ctypes.Structure):
    """`struct sched_attr`, first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def ask_for_short_slices() -> bool:
    """Shorten the slices of this thread and those it will start; False where the kernel won't.

    A thread of another scheduling class (somebody chose it) is left alone.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    size = ctypes.sizeof(_Attributes)
    attributes = _Attributes(size, _SCHED_OTHER, 0, os.nice(0), 0, _SLICE_NS, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, 0, ctypes.byref(attributes), 0) == 0)
