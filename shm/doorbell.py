"""Waking a parked waiter: a flag in shared memory beside a POSIX semaphore.

The producer makes a system call only when the waiter really sleeps. The protocol:

| producer                                | waiter                                             |
|-----------------------------------------|----------------------------------------------------|
| P1 publish the position                 | W1 set the parked flag                             |
| P2 full fence                           | W2 full fence                                      |
| P3 read the parked flag; 0: done        | W3 read the positions; something there: go to W5   |
| P4 read the semaphore; above 0: done    | W4 wait on the semaphore, for a bounded time       |
| P5 post the semaphore                   | W5 clear the flag, read the positions again        |

No wake-up is lost. Because of the two fences, at least one side sees the other's store: either W3
finds the message, or P3 finds the flag. In the latter case P5 leaves a token for W4; or P4 has
found one that is not taken yet, and whoever takes it does so after P1, and reads the positions
after that (W5). Without the fences both sides could miss: on x86 the stores P1 and W1 may still sit
in the store buffers while P3 and W3 load. `tests/shm` walks through every interleaving of these
steps, with store buffers.

Tokens do not pile up: P4 bounds them by the number of producers. A token left over from an earlier
wait only makes the next W4 return at once, and the caller looks again.

Killed producers: a process that dies between P1 and P5 has published without waking. The wait in
W4 is bounded by `PARK_LIMIT_S` for this case, and the message is found then. Only the waiter writes
the flag, so that a dying producer can never take another producer's wake-up with it.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterable

import posix_ipc

from shm.fence import Fence
from shm.segment import MODE, SegmentMissing, ShmError, creating

PARK_LIMIT_S = 0.1
"""Longest single sleep: what a producer killed between publish and post can cost."""


class Doorbell:
    """One end of a doorbell: `words[flag_at]` (u64) is the parked flag, shared by all ends."""

    __slots__ = ("_flag_at", "_full_fence", "_semaphore", "_words")

    def __init__(self, semaphore: posix_ipc.Semaphore, words: memoryview, flag_at: int) -> None:
        self._semaphore = semaphore
        self._words = words
        self._flag_at = flag_at
        self._full_fence = Fence().full

    def ring(self) -> None:
        """Wake the waiter if it is parked; to be called after publishing (P2 to P5)."""
        self._full_fence()
        if self._words[self._flag_at] and self._semaphore.value == 0:
            self._semaphore.release()

    def park(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Sleep until rung, at most `timeout_s` and PARK_LIMIT_S (W1 to W5); return `ready()`.

        May return early with False: a token left over, or a signal.
        """
        self._words[self._flag_at] = 1
        self._full_fence()
        try:
            if not ready():
                with contextlib.suppress(posix_ipc.BusyError, posix_ipc.SignalError):
                    self._semaphore.acquire(min(timeout_s, PARK_LIMIT_S))
        finally:
            self._words[self._flag_at] = 0
        return ready()

    def clear(self) -> None:
        """Forget a waiter that died: flag down, tokens taken."""
        self._words[self._flag_at] = 0
        with contextlib.suppress(posix_ipc.BusyError):
            while True:
                self._semaphore.acquire(0)


def create_semaphore(name: str) -> None:
    """Create a semaphore that stands at zero, mode 0600; errors as those of Segment.create."""
    # In memory it takes a page.
    with creating(name, mmap.PAGESIZE):
        posix_ipc.Semaphore(name, posix_ipc.O_CREX, mode=MODE, initial_value=0).close()


def open_semaphore(name: str) -> posix_ipc.Semaphore:
    """Open an existing semaphore; SegmentMissing when there is none."""
    try:
        return posix_ipc.Semaphore(name)
    except posix_ipc.ExistentialError:
        raise SegmentMissing(f"{name}: no such semaphore") from None
    except posix_ipc.PermissionsError:
        raise ShmError(f"{name}: the semaphore belongs to another user") from None


def unlink_semaphores(names: Iterable[str]) -> None:
    """Remove semaphores; those that do not exist are passed over."""
    for name in names:
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_semaphore(name)
