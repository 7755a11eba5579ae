"""Samples that wait for an instance, in order of arrival."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

import numpy as np

_COMPACT = 4096

Query = tuple[list[int], list[int], int]
"""Response ids, arena positions, and when they arrived (ns on any clock; 0: not kept)."""


class Pending:
    """A queue of (response id, arena position), with the time each arrived (ns) if that is kept.

    Lists with a moving head: taking a batch is one slice each. `waiting` counts the samples.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._positions: list[int] = []
        self._arrivals: list[int] = []
        self._head = 0
        self.waiting = 0

    def absorb(self, queries: deque[Query]) -> None:
        """Move queries here, oldest first; another thread may append to them meanwhile."""
        ids, positions, arrivals = self._ids, self._positions, self._arrivals
        before, oldest = len(ids), queries.popleft
        while queries:
            more_ids, more_positions, arrival_ns = oldest()
            ids += more_ids
            positions += more_positions
            if arrival_ns:
                arrivals += [arrival_ns] * len(more_ids)
        self.waiting += len(ids) - before

    def oldest_ns(self) -> int:
        """Return when the oldest sample arrived."""
        return self._arrivals[self._head]

    def take(self, count: int) -> tuple[list[int], list[int], list[int]]:
        """Remove the `count` oldest: ids, positions and arrivals (empty when not kept)."""
        head, end = self._head, self._head + count
        ids, positions = self._ids[head:end], self._positions[head:end]
        arrivals = self._arrivals[head:end] if self._arrivals else []
        self._head = end
        self.waiting -= count
        if not self.waiting:
            self._ids, self._positions, self._arrivals, self._head = [], [], [], 0
        elif end > _COMPACT and 2 * end > len(self._ids):
            del self._ids[:end], self._positions[:end], self._arrivals[:end]
            self._head = 0
        return ids, positions, arrivals

    def move_older(self, before_ns: float, to: Pending) -> None:
        """Move what arrived before that time to the end of another queue."""
        head = self._head
        end = bisect_left(self._arrivals, before_ns, head)
        to._ids += self._ids[head:end]
        to._positions += self._positions[head:end]
        to._arrivals += self._arrivals[head:end]
        to.waiting += end - head
        self.take(end - head)

    def put_back(self, ids: list[int], positions: list[int], arrivals: list[int]) -> None:
        """Insert at the front what `take` returned."""
        head = self._head
        self.waiting += len(ids)
        self._ids[:head] = ids
        self._positions[:head] = positions
        self._arrivals[:head] = arrivals
        self._head = 0


def sorted_by_position(ids: list[int], positions: list[int]) -> tuple[list[int], list[int]]:
    """Return both lists in order of arena position, so that neighbours share memory pages.

    MLPerf's rules allow it in Offline, where all samples are known at once.
    """
    keys = np.array(positions, dtype=np.uint32)
    if len(keys) and keys.max() < 1 << 16:
        # NumPy sorts 16-bit keys by radix, many times faster than by comparison.
        keys = keys.astype(np.uint16)
    order = np.argsort(keys, kind="stable")
    return np.array(ids, dtype=np.uint64)[order].tolist(), keys[order].tolist()
