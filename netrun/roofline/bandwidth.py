"""Memory bandwidth of some processors, by reading and by copying arrays that no cache holds.

Each processor works on a part of its own, which it has touched first, so that the part lies in the
memory nearest to it. Copying counts bytes read plus bytes written, as the STREAM benchmark does
(McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers", 1995).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from base.processors import last_level_cache

T = TypeVar("T")
LEAST_BYTES = 128 << 20
TIMES_L3 = 4
MEMORY_SHARE = 8
"""At most this part of the machine's memory goes into each array."""


class Bandwidth:
    """Measures again and again; numpy works outside Python's lock, so threads run side by side."""

    def __init__(self, processors: Sequence[int]) -> None:
        self._processors = list(processors)
        self._pool = ThreadPoolExecutor(len(self._processors))
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        wanted = max(LEAST_BYTES, TIMES_L3 * last_level_cache())
        self.bytes = min(wanted, physical // MEMORY_SHARE)
        part = self.bytes // len(self._processors)
        self._parts = self._everywhere(lambda i: (np.ones(part, np.uint8), np.ones(part, np.uint8)))

    def read(self) -> float:
        """Bytes a second that are read: the maximum of one array."""
        return self._rate(lambda i: _maximum(self._parts[i][0]), 1)

    def copy(self) -> float:
        """Bytes a second that are read and written: one array copied to another."""
        return self._rate(lambda i: np.copyto(self._parts[i][1], self._parts[i][0]), 2)

    def _rate(self, work: Callable[[int], object], passes: int) -> float:
        began = time.perf_counter()
        self._everywhere(work)
        seconds = time.perf_counter() - began
        return passes * sum(part[0].nbytes for part in self._parts) / seconds

    def _everywhere(self, work: Callable[[int], T]) -> list[T]:
        def bound(i: int) -> T:
            # This thread alone; OpenMP has bound the one that started it to a single processor.
            # Where the system refuses, it runs wherever the kernel puts it.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {self._processors[i]})
            return work(i)

        return list(self._pool.map(bound, range(len(self._processors))))


def _maximum(array: NDArray[np.uint8]) -> int:
    return int(array.max())
