"""Samples that wait for an instance, in order of arrival."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_COMPACT = 4096
_EXACT = 1e-9
"""Sums of costs are off by less."""

Query = tuple[list[int], list[int], int]
"""Response ids, arena positions, and when they arrived (ns on any clock; 0: not kept)."""

Amount = Any
"""How much of a queue: a number of samples (int) where all cost the same, else their work."""


class Pending:
    """A queue of (response id, arena position), with the time each arrived (ns) if that is kept.

    Lists with a moving head: taking a batch is one slice each. `waiting` counts the samples.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._positions: list[int] = []
        self._arrivals: list[int] = []
        self._head = 0
        self.waiting: float = 0

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

    def first_ns(self) -> float:
        """Return what `move_older` compares of the first sample."""
        return self._arrivals[self._head]

    def take(self, count: Amount) -> tuple[list[int], list[int], list[int]]:
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

    def take_within(self, count: Amount, most: int) -> tuple[list[int], list[int], list[int]]:
        """Remove as many as are there, up to `count` and up to `most` samples."""
        return self.take(min(count, most, self.waiting))

    def move_older(self, before_ns: float, to: Pending) -> None:
        """Move what arrived before that time to the end of another queue."""
        head = self._head
        end = bisect_left(self._arrivals, before_ns, head)
        to.append(*self.take(end - head))

    def append(self, ids: list[int], positions: list[int], arrivals: list[int]) -> None:
        """Add samples at the end."""
        self._ids += ids
        self._positions += positions
        self._arrivals += arrivals
        self.waiting += len(ids)

    def put_back(self, ids: list[int], positions: list[int], arrivals: list[int]) -> None:
        """Insert at the front what `take` returned."""
        head = self._head
        self.waiting += len(ids)
        self._ids[:head] = ids
        self._positions[:head] = positions
        self._arrivals[:head] = arrivals
        self._head = 0


class CostedPending(Pending):
    """A queue in which `waiting` is the work of the samples: the sum of their `costs` by position.

    `take` and the like count in work, too; a batch has at most `most` samples. `costs` may change
    in place while the queue is empty. Where `needs_ns` tells how long a sample of some cost takes,
    the queue is in the order of the latest time at which a sample can be started and still be
    answered in time: those that take long come before what arrived with them.
    """

    def __init__(
        self,
        costs: Sequence[float],
        most: int,
        needs_ns: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__()
        self._costs = costs
        self._most = most
        self._needs_ns = needs_ns
        self._keys: list[float] = []  # arrivals less what the samples need, ascending
        self._work = 0.0

    def work(self, positions: Sequence[int]) -> float:
        """Return the work of samples: more than none, so that who has any is not taken for idle."""
        return max(_EXACT, sum(map(self._costs.__getitem__, positions)))

    def absorb(self, queries: deque[Query]) -> None:
        """Move queries here; another thread may append to them meanwhile."""
        while queries:
            ids, positions, arrival_ns = queries.popleft()
            self.append(ids, positions, [arrival_ns] * len(ids) if arrival_ns else [])

    def append(self, ids: list[int], positions: list[int], arrivals: list[int]) -> None:
        """Add samples: to their places by `needs_ns`, else at the end."""
        if self._needs_ns is None:
            self._ids += ids
            self._positions += positions
            self._arrivals += arrivals
        else:
            self._insert(self._needs_ns, ids, positions, arrivals)
        self._add(self.work(positions))

    def _add(self, work: float) -> None:
        """Count the work; whatever differences of fractions leave, 0 means that nobody waits."""
        waits = len(self._ids) > self._head
        self._work = self._work + work if waits else 0.0
        self.waiting = max(self._work, _EXACT) if waits else 0

    def _insert(
        self,
        needs_ns: Callable[[float], float],
        ids: list[int],
        positions: list[int],
        arrivals: list[int],
    ) -> None:
        keys, costs = self._keys, self._costs
        for number, position, arrival_ns in zip(ids, positions, arrivals, strict=True):
            key = arrival_ns - needs_ns(costs[position])
            place = bisect_right(keys, key, self._head)
            keys.insert(place, key)
            self._ids.insert(place, number)
            self._positions.insert(place, position)
            self._arrivals.insert(place, arrival_ns)

    def oldest_ns(self) -> int:
        """Return when the oldest of those that the next batch may hold arrived."""
        return min(self._arrivals[self._head : self._head + self._most])

    def first_ns(self) -> float:
        """Return when the first sample arrived, less what it needs."""
        return self._keys[self._head]

    def take(self, count: Amount) -> tuple[list[int], list[int], list[int]]:
        """Remove as many as have no more work than `count`, but one at least.

        Where order is by `needs_ns`, later ones fill what the next one in turn does not fit.
        """
        fitting = max(1, self._fitting(count, self._most))
        if self._needs_ns is not None:
            fitting += self._pull_forward(count, fitting)
        return self._remove(fitting)

    def _pull_forward(self, work: float, first: int) -> int:
        """Put samples that fit beside the `first` ones right behind those; return how many."""
        costs, positions = self._costs, self._positions
        start = place = self._head + first
        left = work - self.work(positions[self._head : start])
        for index in range(start, min(len(positions), self._head + self._most)):
            if costs[positions[index]] <= left:
                left -= costs[positions[index]]
                self._keys.insert(place, self._keys.pop(index))
                for column in (self._ids, self._positions, self._arrivals):
                    column.insert(place, column.pop(index))
                place += 1
        return place - start

    def take_within(self, count: Amount, most: int) -> tuple[list[int], list[int], list[int]]:
        """Remove as many as have no more work than `count`, up to `most` samples; maybe none."""
        return self._remove(self._fitting(count, most))

    def _fitting(self, work: float, most: int) -> int:
        costs, left = self._costs, work + _EXACT
        candidates = self._positions[self._head : self._head + most]
        for count, position in enumerate(candidates):
            left -= costs[position]
            if left < 0:
                return count
        return len(candidates)

    def _remove(self, count: int) -> tuple[list[int], list[int], list[int]]:
        if not count:
            return [], [], []
        head, end = self._head, self._head + count
        ids, positions = self._ids[head:end], self._positions[head:end]
        arrivals = self._arrivals[head:end]
        self._head = end
        self._add(-self.work(positions))
        if end == len(self._ids):
            self._ids, self._positions, self._arrivals, self._keys = [], [], [], []
            self._head = 0
        elif end > _COMPACT and 2 * end > len(self._ids):
            for column in (self._ids, self._positions, self._arrivals, self._keys):
                del column[:end]
            self._head = 0
        return ids, positions, arrivals

    def move_older(self, before_ns: float, to: Pending) -> None:
        """Move what arrived, less what it needs by now, before that time."""
        end = bisect_left(self._keys, before_ns, self._head)
        costs, needs_ns = self._costs, self._needs_ns
        for number, position, arrival_ns in zip(*self._remove(end - self._head), strict=True):
            needed_ns = needs_ns(costs[position]) if needs_ns else 0.0
            queue = to if arrival_ns - needed_ns < before_ns else self
            queue.append([number], [position], [arrival_ns])

    def put_back(self, ids: list[int], positions: list[int], arrivals: list[int]) -> None:
        """Insert again what `take` returned."""
        if self._needs_ns is not None:
            self.append(ids, positions, arrivals)
            return
        head = self._head
        self._ids[:head] = ids
        self._positions[:head] = positions
        self._arrivals[:head] = arrivals
        self._head = 0
        self._add(self.work(positions))


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
