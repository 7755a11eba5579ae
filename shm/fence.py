"""A full memory barrier that CPython really executes.

Python has no fence instruction, so one is borrowed from `threading.Lock`: an uncontended
acquire + release pair touches no kernel, and each half is an atomic read-modify-write (glibc's
`sem_trywait` and `sem_post` up to CPython 3.13, a compare-and-swap on a PyMutex byte since).
A try-acquire of the *ring's* semaphore would not do: `sem_trywait` on a semaphore that stands at
zero reads it and returns, without any atomic instruction.

x86: both halves are a `lock cmpxchg`, and a locked instruction drains the store buffer: no load
after it is executed before a store ahead of it is visible to all. That is the only reordering x86
performs, so the pair is needed in one place alone: between a store and a later load of another
location (publish, then look whether the other side is parked; and the reverse).

Arm: acquire is a load-acquire, release a store-release, and acquire followed by release lets
accesses from both sides slip into the pair. Release followed by acquire does not (Armv8 orders
every load-acquire after an earlier store-release: the `[L]; po; [A]` clause of its memory model),
so two pairs in a row hold a full barrier in their middle. Arm also reorders plain loads and plain
stores, hence `WEAK_ORDER`: where it is true, the ring also fences between filling a slot and
publishing it, between reading a position and the slot it covers, and between reading a slot and
giving it back.
"""

from __future__ import annotations

import platform
import threading

WEAK_ORDER = platform.machine() not in {"x86_64", "AMD64", "i386", "i686"}
"""Whether this processor may reorder accesses other than a store with a later load."""


class Fence:
    """A full barrier for one thread at a time; each endpoint has its own."""

    __slots__ = ("_acquire", "_release")

    def __init__(self) -> None:
        lock = threading.Lock()
        self._acquire = lock.acquire
        self._release = lock.release

    def full(self) -> None:
        """Order every earlier load and store before every later one."""
        # Not `with lock`: a lock left held by an exception from a signal handler heals itself here.
        self._acquire(False)
        self._release()
        if WEAK_ORDER:
            self._acquire(False)
            self._release()
