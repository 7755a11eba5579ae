"""How large the next batch is, and whether a busy instance may queue one more behind it.

No rule holds a batch back while an instance is idle, and no instance gets more than `in_flight`
batches at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from loadrun.dispatch.pending import Amount
from loadrun.dispatch.service import ServiceTimes, WorkTimes
from loadrun.scenarios import SCENARIOS, Batching

_PREFETCH_SHARE = 16
"""Server queues behind a busy instance only what is served in 1/16 of the latency limit."""

_LONG = 2
"""A service time of so many times of what goes around it makes it worth to foresee its end."""

_PRESSED = 0.95
"""Share of the time that the instances are busy from which on only larger batches give room."""
_WINDOW = 10
"""It is taken over so many latency limits: a service takes a part of one."""

_PRESSED_ROOM = 0.7
"""Part of the limit that a batch may take then, where costs differ: the most that was held in the
model with 56 instances (docs/benchmarks.md)."""

_SPREAD = 1.1
"""Service times vary: a batch that just fits by the mean is late half of the time."""


_TAIL, _TAIL_LEAST = 1.5, 2.0
"""Offline's batches shrink by the fair share of what is left; where costs differ by part of it,
but not below two mean samples as long as there are so many. In the model this ended the most level
(within half a mean sample) and was the fastest, BERT's, RNN-T's and DLRM's costs taken together."""


@dataclass
class Backlog:
    """What a rule decides on: samples waiting, and how long the oldest has waited (ns).

    Where costs differ, their work is meant: the sum of costs, in mean samples.

    `late`: these samples have given way to all others before. `ahead_ns`: where no instance
    is idle, how long the one is still busy that is free first.
    """

    waiting: Amount
    idle: int
    alive: int
    oldest_wait_ns: int
    late: bool = False
    ahead_ns: float = 0.0


class BatchRule(ABC):
    """Sizes batches up to `batch_size` for instances that hold up to `in_flight` of them.

    A rule counts in samples, or in work where costs differ: `most` is the most that a batch may
    have of it, and a batch of work `most` still has `batch_size` samples at most.
    """

    learns = False
    """Whether the rule wants to know how long the oldest sample has waited and what was served."""
    queues_behind = True
    """Whether less than a full batch may go to an instance that is busy. May change."""

    def __init__(self, batch_size: int, in_flight: int, batch_cost: float | None = None) -> None:
        self.batch_size = batch_size
        self.in_flight = in_flight
        self.costed = batch_cost is not None
        self.most: Amount = batch_size if batch_cost is None else batch_cost

    @abstractmethod
    def next(self, backlog: Backlog, shares: bool) -> tuple[Amount, int]:
        """Return (size of the next batch, depth); (0, ...) holds everything back.

        `depth`: only an instance holding fewer batches than that may take it. `shares`: the policy
        spreads a backlog over the idle instances. `backlog.waiting` is at least 1.
        """

    def patience_ns(self, now_ns: int, alive: int) -> float:
        """Return the wait (ns) after which a sample gives way to all that came later."""
        return math.inf

    def room(self, backlog: Backlog) -> Amount:
        """Return how large a batch may become by samples that have given way."""
        return 0

    def expected_ns(self, size: Amount) -> float:
        """Return how long an instance takes for a batch, as far as it is known."""
        return 0.0

    def needs_ns(self, cost: float) -> float:
        """Return how much earlier a sample of that cost has to be started than one of none."""
        return 0.0

    def served(  # noqa: B027
        self, size: Amount, service_ns: int, around_ns: int | None
    ) -> None:
        """Learn that a batch took `service_ns` in the engine.

        `around_ns`: and so much on the way there and back, known where the instance was idle.
        """


class ThroughputRule(BatchRule):
    """Offline: full batches, and a tail that shrinks so that all instances end together.

    Guided self-scheduling (Polychronopoulos and Kuck, 1987): the next batch is at most the fair
    share of what is left.
    """

    def next(self, backlog: Backlog, shares: bool) -> tuple[Amount, int]:
        """Return min(most, ceil(waiting / alive)), or less of it where costs differ."""
        waiting = fair = backlog.waiting
        if shares:
            alive = max(1, backlog.alive)
            fair = self._part(waiting / alive) if self.costed else -(-waiting // alive)
        return min(self.most, fair), self.in_flight

    def _part(self, fair: float) -> float:
        """Part of a fair share of work: no batch comes out as large as it was meant to be."""
        return max(fair / _TAIL, min(fair, _TAIL_LEAST))


class SplitRule(BatchRule):
    """SingleStream and MultiStream: one query, spread over the idle instances at once."""

    def next(self, backlog: Backlog, shares: bool) -> tuple[Amount, int]:
        """Return min(most, ceil(waiting / idle)); what does not fit queues behind."""
        parts = backlog.idle or backlog.alive or 1
        fair = -(-backlog.waiting // parts) if shares else backlog.waiting
        return min(self.most, fair), self.in_flight


class LatencyRule(BatchRule):
    """Server: batch what has accumulated, within the time left to the latency limit.

    The batch grows only as far as its oldest sample still makes the limit, by what engines have
    shown to take per sample and the way there and back per batch. A sample that is late whatever
    happens gives way: it is served when nothing else waits, in batches as large as they come, or
    rides along in a batch that has room. When the instances are busy nearly all the time, a sample
    that only a small batch would save gives way as well, so that half of the limit is left for the
    service: at the edge of the limit every batch would be a single sample, which takes the most
    time, and the backlog would never shrink. LoadGen counts the share of late queries, not how
    late they are (MLPerf's Server scenario).

    An instance would idle while its answer comes and its next batch goes. So the next batch is sent
    that much before it is expected to be free, where its service takes longer than that.
    """

    learns = True
    queues_behind = False

    def __init__(
        self,
        batch_size: int,
        in_flight: int,
        limit_ns: float,
        batch_ms: Sequence[float] = (),
        batch_cost: float | None = None,
    ) -> None:
        super().__init__(batch_size, in_flight, batch_cost)
        self.limit_ns = limit_ns
        self._times = (
            ServiceTimes(batch_size, batch_ms)
            if batch_cost is None
            else WorkTimes(batch_cost, batch_ms)
        )
        self._around_ns = 0.0
        self._around_known = False
        self._left_ns = limit_ns  # for the service: the limit without the way there and back
        self._pressed = False
        self._least = 0.0  # work of a batch when pressed, where costs differ
        self._window_ns = int(_WINDOW * limit_ns)
        self._busy_ns = self._since_ns = 0  # the window that has not ended

    def served(self, size: Amount, service_ns: int, around_ns: int | None) -> None:
        """Keep moving averages, over about 16 batches, of the service and of the rest."""
        self._busy_ns += service_ns
        self._times.learn(size, service_ns)
        if around_ns is not None:
            first = not self._around_known
            self._around_ns += around_ns if first else (around_ns - self._around_ns) / 16
            self._around_known = True
        rest_ns = self._around_ns
        self._left_ns = self.limit_ns - rest_ns
        self.queues_behind = self.in_flight > 1 and self._times.of(1) >= _LONG * rest_ns

    def expected_ns(self, size: Amount) -> float:
        """Return the mean service time of a batch."""
        return self._times.of(size)

    def needs_ns(self, cost: float) -> float:
        """Return how long before its limit a sample must be started, but for the way back.

        When pressed, with a batch of some work: a cheap sample needs others beside it.
        """
        return _SPREAD * self._times.of(max(cost, self._least))

    def next(self, backlog: Backlog, shares: bool) -> tuple[Amount, int]:
        """Return what has accumulated, for an idle instance; a full batch may queue behind."""
        largest, waiting, idle = self._largest(backlog), backlog.waiting, backlog.idle
        if idle:
            fair = -(-waiting // idle) if shares else waiting
            return min(largest, fair), 1
        if self.queues_behind:
            # Twice, because nothing may happen just then that has the dispatcher look.
            soon = backlog.ahead_ns <= 2 * self._around_ns
            return (min(largest, waiting), 2) if soon else (0, 1)
        # Behind a quick instance a batch is worth queueing when it could not grow further and
        # its turn comes soon: another instance may be free sooner.
        if waiting >= largest and self._times.of(largest) * _PREFETCH_SHARE <= self.limit_ns:
            return largest, self.in_flight
        return 0, 1

    def patience_ns(self, now_ns: int, alive: int) -> float:
        """Return the wait after which too few samples fit a batch: one, or more when pressed.

        Where costs differ, that of a sample that needs no time.
        """
        window_ns = now_ns - self._since_ns
        if window_ns >= self._window_ns:
            self._pressed = self._busy_ns >= _PRESSED * window_ns * max(1, alive)
            self._busy_ns, self._since_ns = 0, now_ns
        times, left_ns = self._times, self._left_ns
        if not times.scale_ns or left_ns < 0:
            return math.inf
        fits = times.fitting(left_ns, _SPREAD)
        if not fits:
            return math.inf
        if self.costed:
            # The queue reckons with what each sample needs; see `needs_ns`.
            room_ns = _PRESSED_ROOM * left_ns
            self._least = times.nearest(room_ns, _SPREAD) if self._pressed else 0.0
            return left_ns
        fewest: Amount = 1
        if self._pressed:
            fewest = min(fits, max(2, times.nearest(left_ns / 2, _SPREAD)))
        return left_ns - _SPREAD * times.of(fewest)

    def room(self, backlog: Backlog) -> Amount:
        """Return what the oldest sample's limit allows; nothing when pressed."""
        return 0 if self._pressed else self._largest(backlog)

    def _largest(self, backlog: Backlog) -> Amount:
        if backlog.late or not self._times.scale_ns:
            return self.most
        left_ns = self._left_ns - backlog.oldest_wait_ns - backlog.ahead_ns
        # Nothing fits at all where one sample takes longer than the limit.
        return self._times.fitting(left_ns, _SPREAD) or self.most


def make_rule(
    scenario: str,
    batch_size: int,
    in_flight: int,
    latency_limit_s: float | None,
    batch_ms: Sequence[float] = (),
    batch_cost: float | None = None,
) -> BatchRule:
    """Return the rule of a scenario.

    `latency_limit_s` is Server's limit in s; `batch_ms` what batches of 1, 2, ... samples take, as
    far as that was measured. `batch_cost` is the most work of a batch, in mean samples, where costs
    differ (`batch_ms`: of 1, 2, ... mean samples); None where all samples cost the same.
    """
    batching = SCENARIOS[scenario].batching
    if batching is Batching.THROUGHPUT:
        return ThroughputRule(batch_size, in_flight, batch_cost)
    if batching is Batching.LATENCY and latency_limit_s is not None:
        return LatencyRule(batch_size, in_flight, latency_limit_s * 1e9, batch_ms, batch_cost)
    return SplitRule(batch_size, in_flight, batch_cost)
