"""loadrun's dispatch in modelled time: its policies and batch rules, modelled service times.

A batch reaches an instance `HALF_TRIP_MS` after it is sent, and loadrun hears of the answer as long
after it is ready. Nothing else takes time.
"""

from __future__ import annotations

import heapq
import random

from loadrun.dispatch.batching import Backlog, BatchRule, make_rule
from loadrun.dispatch.pending import Pending
from loadrun.dispatch.policies import Policy, make_policy
from netrun.config import SimulatedService

HALF_TRIP_MS = 0.04
ARRIVAL, ANSWER = 0, 1


def offline_rate(
    service: SimulatedService,
    instances: int,
    batch_size: int,
    policy: str,
    in_flight: int,
    samples: int,
) -> float:
    """Samples/s of `samples` that are all there at the start."""
    simulation = _Serving(service, instances, batch_size, policy, in_flight, "Offline", None, 1)
    simulation.pending.extend(list(range(samples)), [0] * samples, 0)
    simulation.send()
    simulation.drain()
    return samples / simulation.now_ns * 1e9


def late_share(
    service: SimulatedService,
    instances: int,
    batch_size: int,
    policy: str,
    in_flight: int,
    limit_s: float,
    qps: float,
    queries: int,
    seed: int,
) -> float:
    """The share of `queries` Poisson arrivals of `qps` whose answers come after `limit_s`."""
    simulation = _Serving(
        service, instances, batch_size, policy, in_flight, "Server", limit_s, seed
    )
    draw, at = random.Random(seed), 1.0
    for number in range(queries):
        at += draw.expovariate(qps) * 1e9
        simulation.until(at)
        simulation.arrive(number)
    simulation.drain()
    return simulation.late / queries


class _Serving:
    def __init__(
        self,
        service: SimulatedService,
        instances: int,
        batch_size: int,
        policy: str,
        in_flight: int,
        scenario: str,
        limit_s: float | None,
        seed: int,
    ) -> None:
        self._service_ns = [0.0] + [1e6 * service.mean_ms(b) for b in range(1, batch_size + 1)]
        self._jitter = service.jitter
        self._policy: Policy = make_policy(policy, instances, in_flight)
        self._rule: BatchRule = make_rule(scenario, batch_size, in_flight, limit_s)
        self._limit_ns = (limit_s or 0.0) * 1e9
        self._free_ns = [0.0] * instances
        self._events: list[tuple[float, int, int, int, list[int], float, float]] = []
        self._draw = random.Random(seed + 1)
        self._arrived: dict[int, float] = {}
        self._backlog = Backlog(0, 0, 0, 0)
        self._count = 0
        self.pending = Pending()
        self.now_ns = 1.0
        self.late = 0

    def arrive(self, number: int) -> None:
        """A query of one sample comes now."""
        self._arrived[number] = self.now_ns
        self.pending.extend([number], [0], int(self.now_ns))
        self.send()

    def until(self, at_ns: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= at_ns:
            self._answer()
        self.now_ns = at_ns

    def drain(self) -> None:
        """Let time pass until everything is answered."""
        while self._events:
            self._answer()

    def _answer(self) -> None:
        at, _, instance, samples, ids, service_ns, sent_ns = heapq.heappop(self._events)
        self.now_ns = at
        if self._limit_ns:
            self.late += sum(at - self._arrived.pop(n) > self._limit_ns for n in ids)
            self._rule.served(samples, int(service_ns), int(at - sent_ns - service_ns))
        self._policy.completed(instance, samples)
        if self.pending.waiting:
            self.send()

    def send(self) -> None:
        """Send what may be sent, as `loadrun.dispatch.dispatcher` does."""
        pending, policy, rule, backlog = self.pending, self._policy, self._rule, self._backlog
        while pending.waiting:
            backlog.waiting, backlog.idle = pending.waiting, policy.idle
            backlog.alive = policy.alive
            if rule.learns:
                backlog.oldest_wait_ns = int(self.now_ns) - pending.oldest_ns()
            size, depth = rule.next(backlog, policy.shares)
            instance = policy.choose(depth) if size else None
            if instance is None:
                return
            ids, _, _ = pending.take(size)
            mean_ns = self._service_ns[size]
            service_ns = max(0.0, mean_ns * self._draw.gauss(1.0, self._jitter))
            starts = max(self.now_ns + 1e6 * HALF_TRIP_MS, self._free_ns[instance])
            self._free_ns[instance] = starts + service_ns
            ready = starts + service_ns + 1e6 * HALF_TRIP_MS
            self._count += 1
            heapq.heappush(
                self._events, (ready, self._count, instance, size, ids, service_ns, self.now_ns)
            )
            policy.sent(instance, size)
