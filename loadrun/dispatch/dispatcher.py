"""From LoadGen's queries to batches in the request rings.

Two threads come here: LoadGen's with queries, the completion thread with answers. A single lock
guards the state. LoadGen's thread never waits for it: it leaves its query in the inbox, and whoever
holds the lock looks into the inbox again after giving it back, so that no query is left behind.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from loadrun.dispatch.batching import Backlog, BatchRule
from loadrun.dispatch.pending import CostedPending, Pending, Query, sorted_by_position
from loadrun.dispatch.policies import Policy
from loadrun.dispatch.suspects import Suspects
from shm.control import Blame


class DispatchError(RuntimeError):
    """An instance answered something that it was not asked."""


class Sender(Protocol):
    """loadrun's end of a request ring (`shm.ring.RequestProducer`)."""

    def try_send(self, ids: Sequence[int], positions: Sequence[int]) -> bool:
        """Send one batch; False when the ring is full."""


Answered = tuple[int, list[int], int]
"""An answer: of which instance, to which response ids, and its time in the engine (ns)."""

_Batch = tuple[list[int], list[int], list[int], int, float]
"""Response ids, arena positions, when each arrived (ns; empty: not kept), when they were sent to an
idle instance (ns), and their work."""


class Dispatcher:
    """Sends batches to instances as the rule sizes them and the policy chooses.

    `samples[i]` counts what instance i has answered, `sizes[i][n]` its batches of n samples,
    `busy_ns[i]` its time in the engine; `redispatched` the samples that a dead instance left behind
    and others were sent. `issued_ns` is when the latest query came.

    `costs` holds the work of the sample at each arena position in parts of the mean, None where all
    cost the same; it may be changed in place while nothing is outstanding. The rule was made for it
    (`batch_cost`).
    """

    def __init__(
        self,
        senders: Sequence[Sender],
        policy: Policy,
        rule: BatchRule,
        sort_samples: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        costs: Sequence[float] | None = None,
    ) -> None:
        if rule.costed == (costs is None):
            raise ValueError("a rule counts work where there are costs, and only there")
        count = len(senders)
        self.samples = [0] * count
        self.sizes = [[0] * (rule.batch_size + 1) for _ in range(count)]
        self.busy_ns = [0] * count
        self.redispatched = 0
        self.issued_ns = 0
        self._senders = [sender.try_send for sender in senders]
        self._policy = policy
        self._rule = rule
        self._sort = sort_samples
        self._clock_ns = clock_ns
        self._backlog = Backlog(0, 0, 0, 0)
        self._work_of: Callable[[list[int]], float] = len
        self._pending = Pending()
        self._late = Pending()  # what has given way
        if costs is not None:
            needs_ns = rule.needs_ns if rule.learns else None
            self._pending = CostedPending(costs, rule.batch_size, needs_ns)
            self._late = late = CostedPending(costs, rule.batch_size)
            self._work_of = late.work
        self._held: list[deque[_Batch]] = [deque() for _ in range(count)]
        self._end_ns = [0] * count  # when the oldest of them is expected to be served
        self._ends: list[tuple[int, int]] = []  # a heap of these and their instances
        # What instances died of goes first, in batches of their own; `_alone` has the first id of
        # each that is not answered, and `_suspects` is empty when it is.
        self._again: deque[tuple[list[int], list[int], list[int]]] = deque()
        self._alone: set[int] = set()
        self._suspects = Suspects()
        self._deaths = [0] * count
        self._inbox: deque[Query] = deque()
        self._lock = threading.Lock()
        # Each is written by one thread at a time.
        self._submitted = self._answered = 0

    @property
    def alive(self) -> int:
        """Instances that take batches."""
        return self._policy.alive

    @property
    def answered(self) -> int:
        """Samples that have been answered."""
        return self._answered

    @property
    def outstanding(self) -> int:
        """Samples waiting or with an instance."""
        return self._submitted - self._answered

    def submit(self, ids: list[int], positions: list[int]) -> None:
        """Take one query: its response ids and arena positions. Returns at once."""
        self.issued_ns = now_ns = self._clock_ns()
        if self._sort and len(ids) > 1:
            ids, positions = sorted_by_position(ids, positions)
        arrival_ns = now_ns if self._rule.learns else 0
        self._submitted += len(ids)
        self._inbox.append((ids, positions, arrival_ns))
        # Without an idle instance there is nothing to do yet but to keep the inbox short. One that
        # becomes idle now is counted as such before the inbox is emptied for it.
        if (
            self._policy.idle
            or self._rule.queues_behind
            or len(self._inbox) >= self._rule.batch_size
        ):
            self._work()

    def completed(self, answers: Sequence[Answered]) -> list[int]:
        """Note answers, each to the oldest batch that its instance holds, and send what waits.

        All are noted first: what waits is shared among the instances that became idle together.
        Returns when each of the samples arrived (ns); empty where the rule does not ask for it.
        Raises DispatchError when an answer is not to that batch.
        """
        rule, policy = self._rule, self._policy
        arrivals: list[int] = []
        with self._lock:
            now_ns = self._clock_ns() if rule.learns else 0
            for instance, ids, service_ns in answers:
                samples = len(ids)
                held = self._held[instance]
                if not held or held[0][0] != ids:
                    raise DispatchError(
                        f"instance {instance} answered {samples} samples that are not its oldest "
                        "batch"
                    )
                batch = held.popleft()
                self._answered += samples
                self.samples[instance] += samples
                self.sizes[instance][samples] += 1
                self.busy_ns[instance] += service_ns
                if rule.learns:
                    around_ns = max(0, now_ns - batch[3] - service_ns) if batch[3] else None
                    rule.served(batch[4], service_ns, around_ns)
                    if held:
                        self._foresee(instance, now_ns)
                    arrivals += batch[2]
                policy.completed(instance, batch[4])
                if self._alone:
                    self._alone.discard(ids[0])
                    self._suspects.answered(batch[1])
            if self._inbox:
                self._drain()
            if self._pending.waiting or self._late.waiting or self._again:
                self._send()
        if self._inbox:
            self._work()
        return arrivals

    def requeue(self, instance: int, blame: Blame) -> int:
        """Take all batches back from a dead instance for the others; return how many samples.

        They go first. `blame` tells what its death says of the batch that it worked on, the oldest:
        where it says something, that one is sent again in two halves, each a batch of its own. The
        instance gets nothing more until `add`. Raises PoisonError when too many have died of it.
        """
        with self._lock:
            self._policy.remove(instance)
            held = self._held[instance]
            returned = sum(len(batch[0]) for batch in held)
            self.redispatched += returned
            death = instance, self._deaths[instance]
            self._deaths[instance] += 1
            in_work = held.popleft()[:3] if held and blame else None
            while held:
                batch = held.pop()[:3]
                if batch[0][0] in self._alone:
                    self._again.appendleft(batch)
                else:
                    self._pending.put_back(*batch)
            if in_work is not None:
                self._suspects.accuse(in_work[1], death, blame)
                self._halve(*in_work)
            self._send()
        self._work()
        return returned

    def _halve(self, ids: list[int], positions: list[int], arrivals: list[int]) -> None:
        half = (len(ids) + 1) // 2
        for part in (slice(half, None), slice(half)):
            if ids[part]:
                self._alone.add(ids[part][0])
                self._again.appendleft((ids[part], positions[part], arrivals[part]))

    def add(self, instance: int) -> None:
        """Let a restarted instance take batches again."""
        with self._lock:
            self._policy.add(instance)
            self._send()
        self._work()

    def poll(self) -> None:
        """Send what can be sent: for a ring that was full, or after a flush."""
        with self._lock:
            self._drain()
            self._send()
        self._work()

    def _work(self) -> None:
        while self._inbox and self._lock.acquire(blocking=False):
            try:
                self._drain()
                self._send()
            finally:
                self._lock.release()

    def _drain(self) -> None:
        self._pending.absorb(self._inbox)

    def _send(self) -> None:
        pending, late = self._pending, self._late
        policy, rule, backlog = self._policy, self._rule, self._backlog
        now_ns = 0
        if rule.learns:
            now_ns = self._clock_ns()
            if pending.waiting:
                before_ns = now_ns - rule.patience_ns(now_ns, policy.alive)
                if pending.first_ns() < before_ns:
                    pending.move_older(before_ns, late)
        if self._again and not self._send_again(now_ns):
            return
        while pending.waiting or late.waiting:
            queue = pending if pending.waiting else late
            backlog.waiting, backlog.idle = queue.waiting, policy.idle
            backlog.alive, backlog.late = policy.alive, queue is late
            instance = None
            if rule.learns:
                backlog.oldest_wait_ns = now_ns - queue.oldest_ns()
                backlog.ahead_ns = 0.0
                if rule.queues_behind and not policy.idle:
                    instance, backlog.ahead_ns = self._soonest(now_ns)
            size, depth = rule.next(backlog, policy.shares)
            if not size:
                return
            if instance is None:
                instance = policy.choose(depth)
                if instance is None:
                    return
            batch = queue.take(size)
            if late.waiting and queue is pending:
                room = rule.room(backlog) - self._work_of(batch[1])
                if room > 0:
                    ids, positions, arrivals = late.take_within(
                        room, rule.batch_size - len(batch[0])
                    )
                    batch = ids + batch[0], positions + batch[1], arrivals + batch[2]
            if not self._senders[instance](batch[0], batch[1]):
                # A full ring: the next answer or poll tries again.
                queue.put_back(*batch)
                return
            work = self._work_of(batch[1])
            held = self._held[instance]
            held.append((*batch, 0 if held else now_ns, work))
            policy.sent(instance, work)
            if rule.learns and len(held) == 1:
                self._foresee(instance, now_ns)

    def _send_again(self, now_ns: int) -> bool:
        """Send what instances died of, whatever the rule says; False where there is no room."""
        again = self._again
        while again:
            instance = self._policy.choose(self._rule.in_flight)
            if instance is None or not self._senders[instance](*again[0][:2]):
                return False
            held, batch = self._held[instance], again.popleft()
            work = self._work_of(batch[1])
            held.append((*batch, 0 if held else now_ns, work))
            self._policy.sent(instance, work)
            if self._rule.learns and len(held) == 1:
                self._foresee(instance, now_ns)
        return True

    def _foresee(self, instance: int, now_ns: int) -> None:
        """Note when the batch that an instance begins now is expected to be served."""
        if not (self._rule.queues_behind and self._policy.foresees):
            return
        work = self._held[instance][0][4]
        end_ns = self._end_ns[instance] = now_ns + int(self._rule.expected_ns(work))
        heapq.heappush(self._ends, (end_ns, instance))
        if len(self._ends) > 64 + 4 * len(self._held):
            # Entries that are out of date only go when they come to the top.
            self._ends = [(end_ns, i) for i, end_ns in enumerate(self._end_ns) if self._held[i]]
            heapq.heapify(self._ends)

    def _soonest(self, now_ns: int) -> tuple[int | None, float]:
        """Return the instance with one batch that is free first, and in how many ns.

        None and infinity where that is not foreseen.
        """
        ends = self._ends
        while ends:
            end_ns, instance = ends[0]
            if self._end_ns[instance] == end_ns and len(self._held[instance]) == 1:
                return instance, max(0, end_ns - now_ns)
            heapq.heappop(ends)
        return None, math.inf
