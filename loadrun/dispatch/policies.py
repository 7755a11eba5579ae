"""Which instance gets the next batch.

A policy sees instances as they take and finish batches and names the next one. How large the batch
is and whether a busy instance may queue one more is `loadrun.dispatch.batching`'s business. All
operations are O(1) or O(log instances), amortised: no query looks at every instance.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import ClassVar

from loadrun.scenarios import nearest


class UnknownPolicyError(ValueError):
    """No policy of that name; the message names the nearest one."""


class Policy(ABC):
    """Chooses among instances 0 .. instances-1, each with at most `in_flight` batches.

    `depth[i]` is the number of batches instance i holds, `load[i]` their work (samples, where all
    cost the same), `idle` how many instances hold none, `alive` how many there are. Instances start
    alive and idle.
    """

    name: ClassVar[str]
    shares: ClassVar[bool] = True
    """Whether what is waiting is spread over the idle instances instead of filling one batch."""
    foresees: ClassVar[bool] = False
    """Whether the instance that is expected to be free first may get a batch a moment before."""

    def __init__(self, instances: int, in_flight: int) -> None:
        self.in_flight = in_flight
        self.depth = [0] * instances
        self.load: list[float] = [0] * instances
        self.idle = self.alive = instances
        self._present = [True] * instances

    @abstractmethod
    def choose(self, depth: int) -> int | None:
        """Return the instance for the next batch among those holding fewer than `depth` batches.

        None: hold the batch back. `depth` is 1 (idle instances only) or `in_flight`. Nothing
        changes until `sent`.
        """

    def sent(self, instance: int, work: float) -> None:
        """Note that the chosen instance has been sent a batch of that work."""
        depth = self.depth[instance]
        if depth == 0:
            self.idle -= 1
        self.depth[instance] = depth + 1
        self.load[instance] += work
        self._moved(instance)

    def completed(self, instance: int, work: float) -> None:
        """Note that `instance` has answered a batch of that work."""
        depth = self.depth[instance] = self.depth[instance] - 1
        self.load[instance] -= work
        if depth == 0:
            self.idle += 1
            self.load[instance] = 0  # differences of fractions leave a rest
        self._moved(instance)

    def remove(self, instance: int) -> None:
        """Take a dead instance out; what it held is no longer counted."""
        if not self._present[instance]:
            return
        if self.depth[instance] == 0:
            self.idle -= 1
        self.alive -= 1
        self._present[instance] = False
        self.depth[instance] = self.load[instance] = 0
        self._moved(instance)

    def add(self, instance: int) -> None:
        """Put a removed instance back, idle."""
        if self._present[instance]:
            return
        self._present[instance] = True
        self.alive += 1
        self.idle += 1
        self._moved(instance)

    @abstractmethod
    def _moved(self, instance: int) -> None:
        """Update the order after a change of `instance`."""


class _Levels(Policy):
    """Instances queued by the number of batches they hold; those that are full stand in none."""

    def __init__(self, instances: int, in_flight: int) -> None:
        super().__init__(instances, in_flight)
        self._levels: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(in_flight)]
        self._levels[0] = OrderedDict.fromkeys(range(instances))
        self._stands_in: list[OrderedDict[int, None] | None] = [self._levels[0]] * instances

    def _moved(self, instance: int) -> None:
        queue = self._stands_in[instance]
        if queue is not None:
            del queue[instance]
            queue = None
        depth = self.depth[instance]
        if depth < self.in_flight and self._present[instance]:
            queue = self._levels[depth]
            queue[instance] = None
        self._stands_in[instance] = queue


def _first(levels: Iterable[OrderedDict[int, None]]) -> int | None:
    """Return who has stood longest in the first level where somebody stands."""
    for queue in levels:
        for instance in queue:
            return instance
    return None


class Pull(_Levels):
    """An instance gets its next batch as it becomes free: the longest free one first.

    Instances that hold nothing come before those that hold one batch, and so on.
    """

    name = "pull"
    foresees = True

    def choose(self, depth: int) -> int | None:
        """Return the instance longest at the lowest level."""
        return _first(self._levels[:depth])


class LocalBatchFirst(_Levels):
    """Fill one instance's ring before the next one's, with batches as full as can be (BKM: LBF)."""

    name = "local_batch_first"
    shares = False

    def choose(self, depth: int) -> int | None:
        """Return an instance of the highest level that still has room."""
        return _first(reversed(self._levels[:depth]))


class LeastLoaded(Policy):
    """The instance that holds the least work; ties go to the one unchanged for longest."""

    name = "least_loaded"

    def __init__(self, instances: int, in_flight: int) -> None:
        super().__init__(instances, in_flight)
        self._stamp = [0] * instances
        self._changes = 0
        self._heap: list[tuple[float, int, int]] = [
            (0, 0, instance) for instance in range(instances)
        ]
        self._most = 64 + 4 * instances

    def _moved(self, instance: int) -> None:
        self._changes += 1
        self._stamp[instance] = self._changes
        if self._present[instance] and self.depth[instance] < self.in_flight:
            heapq.heappush(self._heap, (self.load[instance], self._changes, instance))
        if len(self._heap) > self._most:
            # Entries that are out of date only go when they come to the top.
            self._heap = [x for x in self._heap if self._stamp[x[2]] == x[1]]
            heapq.heapify(self._heap)

    def choose(self, depth: int) -> int | None:
        """Return the least loaded instance with room."""
        heap = self._heap
        while heap:
            _, stamp, instance = heap[0]
            if self._stamp[instance] == stamp:
                # An idle instance, where there is one, is the least loaded.
                return instance if self.depth[instance] < depth else None
            heapq.heappop(heap)
        return None


class RoundRobin(Policy):
    """Each instance in turn, whatever it holds (BKM: RR); a full one is waited for."""

    name = "round_robin"

    def __init__(self, instances: int, in_flight: int) -> None:
        super().__init__(instances, in_flight)
        self._turn = deque(range(instances))

    def sent(self, instance: int, work: float) -> None:
        """Note the batch and pass the turn on."""
        super().sent(instance, work)
        self._turn.rotate(-1)

    def remove(self, instance: int) -> None:
        """Take a dead instance out of the turn."""
        if self._present[instance]:
            self._turn.remove(instance)
        super().remove(instance)

    def add(self, instance: int) -> None:
        """Put a removed instance at the end of the turn."""
        if not self._present[instance]:
            self._turn.append(instance)
        super().add(instance)

    def _moved(self, instance: int) -> None:
        """The turn depends on nothing that an instance holds."""

    def choose(self, depth: int) -> int | None:
        """Return the instance whose turn it is, or None while it is full."""
        if self._turn and self.depth[self._turn[0]] < depth:
            return self._turn[0]
        return None


_POLICIES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (Pull, LeastLoaded, LocalBatchFirst, RoundRobin)
}
NAMES = tuple(_POLICIES)


def make_policy(name: str, instances: int, in_flight: int) -> Policy:
    """Return a fresh policy by name; raises UnknownPolicyError."""
    if name not in _POLICIES:
        guess = nearest(name, NAMES)
        hint = f"nearest: {guess}; " if guess else ""
        raise UnknownPolicyError(f"unknown policy {name!r} ({hint}one of {', '.join(NAMES)})")
    return _POLICIES[name](instances, in_flight)
