"""loadrun's dispatcher in modelled time: its policies and batch rules, modelled service times.

A batch reaches an instance half a trip after it is sent, and loadrun hears of the answer as long
after it is ready. Nothing else takes time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

from loadrun.dispatch.batching import make_rule
from loadrun.dispatch.dispatcher import Dispatcher
from loadrun.dispatch.policies import make_policy
from netrun.config import SimulatedService

HALF_TRIP_NS = 40_000
"""Of a machine that is not busy otherwise."""


def offline_rate(
    service: SimulatedService,
    instances: int,
    batch_size: int,
    policy: str,
    in_flight: int,
    samples: int,
) -> float:
    """Samples/s of `samples` that are all there at the start."""
    machine = _Machine(service, instances, batch_size, policy, in_flight, "Offline", None, 1)
    machine.dispatcher.submit(list(range(samples)), [0] * samples)
    machine.drain()
    return samples / machine.now_ns * 1e9


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
    machine = _Machine(service, instances, batch_size, policy, in_flight, "Server", limit_s, seed)
    latencies_ns = machine.serve(qps, queries, seed)
    return sum(latency_ns > limit_s * 1e9 for latency_ns in latencies_ns) / queries


def ideal_latencies(
    service: SimulatedService,
    servers: int,
    batch_size: int,
    limit_s: float,
    qps: float,
    queries: int,
) -> list[float]:
    """The latencies (s) of Poisson arrivals where nothing but serving takes time."""
    machine = _Machine(
        service, servers, batch_size, "pull", 1, "Server", limit_s, 1, half_trip_ns=0
    )
    return [latency_ns / 1e9 for latency_ns in machine.serve(qps, queries, 1)]


class _Instance:
    """Serves one batch after the other; its ring is never full, as the policy bounds it."""

    def __init__(self, machine: _Machine, number: int) -> None:
        self._machine = machine
        self._number = number
        self._free_ns = 0

    def try_send(self, ids: Sequence[int], positions: Sequence[int]) -> bool:
        machine = self._machine
        service_ns = machine.service_ns(len(ids))
        self._free_ns = max(machine.now_ns + machine.half_trip_ns, self._free_ns) + service_ns
        machine.answer_at(self._free_ns + machine.half_trip_ns, self._number, list(ids), service_ns)
        return True


class _Machine:
    """A dispatcher, its instances, and the answers on their way."""

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
        half_trip_ns: int = HALF_TRIP_NS,
    ) -> None:
        self.half_trip_ns = half_trip_ns
        self._service = service
        self._draw = random.Random(seed + 1)
        self._answers: list[tuple[int, int, int, list[int], int]] = []
        self._count = 0
        self._arrived_ns: list[int] = []
        self._latencies_ns: list[int] = []
        self.now_ns = 1
        self.dispatcher = Dispatcher(
            [_Instance(self, number) for number in range(instances)],
            make_policy(policy, instances, in_flight),
            make_rule(scenario, batch_size, in_flight, limit_s),
            clock_ns=lambda: self.now_ns,
        )

    def serve(self, qps: float, queries: int, seed: int) -> list[int]:
        """Let Poisson arrivals of one sample each come; return their latencies (ns)."""
        draw, at_ns = random.Random(seed), 1.0
        for number in range(queries):
            at_ns += draw.expovariate(qps) * 1e9
            self.until(int(at_ns))
            self._arrived_ns.append(self.now_ns)
            self.dispatcher.submit([number], [0])
        self.drain()
        return self._latencies_ns

    def service_ns(self, samples: int) -> int:
        """A service time."""
        jitter = self._draw.gauss(1.0, self._service.jitter)
        return max(0, round(1e6 * self._service.mean_ms(samples) * jitter))

    def answer_at(self, at_ns: int, instance: int, ids: list[int], service_ns: int) -> None:
        """An answer reaches loadrun then."""
        self._count += 1
        heapq.heappush(self._answers, (at_ns, self._count, instance, ids, service_ns))

    def until(self, at_ns: int) -> None:
        """Let time pass."""
        while self._answers and self._answers[0][0] <= at_ns:
            self.now_ns, _, instance, ids, service_ns = heapq.heappop(self._answers)
            if self._arrived_ns:
                self._latencies_ns += [self.now_ns - self._arrived_ns[number] for number in ids]
            self.dispatcher.completed([(instance, ids, service_ns)])
        self.now_ns = at_ns

    def drain(self) -> None:
        """Let time pass until everything is answered."""
        while self._answers:
            self.until(self._answers[0][0])
