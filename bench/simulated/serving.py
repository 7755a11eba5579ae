"""loadrun's dispatcher in modelled time: its policies and batch rules, modelled service times.

A batch reaches an instance half a trip after it is sent, and loadrun hears of the answer as long
after it is ready. Nothing else takes time.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from loadrun.dispatch.batching import make_rule
from loadrun.dispatch.dispatcher import Dispatcher
from loadrun.dispatch.policies import make_policy
from netrun.config import SimulatedService

HALF_TRIP_NS = 40_000
"""Of a machine that is not busy otherwise."""


@dataclass(frozen=True)
class Plant:
    """A modelled machine: its instances, how they are asked, and what samples cost.

    `batch_size` bounds the samples of a batch, `batch_cost` their work in mean samples. Without
    `costs` (in parts of the mean, of the samples that LoadGen draws from) all samples cost the same
    and the number alone counts. `counts`: costs differ, but dispatch does not know of them.
    """

    service: SimulatedService
    instances: int
    batch_size: int
    policy: str = "pull"
    in_flight: int = 2
    costs: Sequence[float] | None = None
    batch_cost: float | None = None
    counts: bool = False
    half_trip_ns: int = HALF_TRIP_NS


@dataclass(frozen=True)
class Served:
    """What a test on a plant gave: `busy_s` of each instance, `batches` in all, the time of all."""

    samples: int
    seconds: float
    busy_s: list[float]
    batches: int
    latencies_s: list[float]

    @property
    def rate(self) -> float:
        """Samples/s."""
        return self.samples / self.seconds

    def late_share(self, limit_s: float) -> float:
        """The share of the samples whose answers came after `limit_s`."""
        return sum(latency_s > limit_s for latency_s in self.latencies_s) / self.samples

    def latency_s(self, share: float) -> float:
        """The latency that this share of the samples did not exceed."""
        return sorted(self.latencies_s)[math.ceil(share * self.samples) - 1]


def offline(plant: Plant, samples: int, seed: int = 1) -> Served:
    """Let `samples` be all there at the start: as in LoadGen, the set in turn, in any order."""
    machine = _Machine(plant, "Offline", None, seed)
    count = len(plant.costs) if plant.costs else 1
    order = random.Random(seed).sample(range(count), count)
    machine.dispatcher.submit(list(range(samples)), [order[i % count] for i in range(samples)])
    machine.drain()
    return machine.served(samples)


def server(plant: Plant, limit_s: float, qps: float, queries: int, seed: int = 1) -> Served:
    """Let `queries` of one sample each, drawn from all, arrive as a Poisson process of `qps`."""
    machine = _Machine(plant, "Server", limit_s, seed)
    machine.serve(qps, queries, seed)
    return machine.served(queries)


def offline_rate(
    service: SimulatedService,
    instances: int,
    batch_size: int,
    policy: str,
    in_flight: int,
    samples: int,
) -> float:
    """Samples/s of `samples` of equal cost that are all there at the start."""
    return offline(Plant(service, instances, batch_size, policy, in_flight), samples).rate


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
    plant = Plant(service, instances, batch_size, policy, in_flight)
    return server(plant, limit_s, qps, queries, seed).late_share(limit_s)


def ideal_latencies(
    service: SimulatedService,
    servers: int,
    batch_size: int,
    limit_s: float,
    qps: float,
    queries: int,
) -> list[float]:
    """The latencies (s) of Poisson arrivals where nothing but serving takes time."""
    plant = Plant(service, servers, batch_size, "pull", 1, half_trip_ns=0)
    return server(plant, limit_s, qps, queries).latencies_s


class _Instance:
    """Serves one batch after the other; its ring is never full, as the policy bounds it."""

    def __init__(self, machine: _Machine, number: int) -> None:
        self._machine = machine
        self._number = number
        self._free_ns = 0

    def try_send(self, ids: Sequence[int], positions: Sequence[int]) -> bool:
        machine = self._machine
        service_ns = machine.service_ns(positions)
        self._free_ns = max(machine.now_ns + machine.half_trip_ns, self._free_ns) + service_ns
        machine.answer_at(self._free_ns + machine.half_trip_ns, self._number, list(ids), service_ns)
        return True


class _Machine:
    """A dispatcher, its instances, and the answers on their way."""

    def __init__(self, plant: Plant, scenario: str, limit_s: float | None, seed: int) -> None:
        self.half_trip_ns = plant.half_trip_ns
        self._service = plant.service
        # Rows of the arena are loaded by falling cost.
        self._costs = sorted(plant.costs, reverse=True) if plant.costs else None
        self._draw = random.Random(seed + 1)
        self._answers: list[tuple[int, int, int, list[int], int]] = []
        self._count = 0
        self._arrived_ns: list[int] = []
        self._latencies_ns: list[int] = []
        self.now_ns = 1
        costs = None if plant.counts else self._costs
        batch_cost = (plant.batch_cost or plant.batch_size) if costs else None
        self.dispatcher = Dispatcher(
            [_Instance(self, number) for number in range(plant.instances)],
            make_policy(plant.policy, plant.instances, plant.in_flight),
            make_rule(
                *(scenario, plant.batch_size, plant.in_flight, limit_s), batch_cost=batch_cost
            ),
            sort_samples=costs is not None and scenario == "Offline",
            clock_ns=lambda: self.now_ns,
            costs=costs,
        )

    def serve(self, qps: float, queries: int, seed: int) -> None:
        """Let Poisson arrivals of one sample each come."""
        draw, at_ns = random.Random(seed), 1.0
        count = len(self._costs) if self._costs else 1
        for number in range(queries):
            at_ns += draw.expovariate(qps) * 1e9
            self.until(int(at_ns))
            self._arrived_ns.append(self.now_ns)
            # The single position draws nothing: what equal costs give stays what it was.
            position = draw.randrange(count) if count > 1 else 0
            self.dispatcher.submit([number], [position])
        self.drain()

    def served(self, samples: int) -> Served:
        """What came of it, when all is answered."""
        sent = self.dispatcher
        return Served(
            samples,
            self.now_ns / 1e9,
            [busy_ns / 1e9 for busy_ns in sent.busy_ns],
            sum(map(sum, sent.sizes)),
            [latency_ns / 1e9 for latency_ns in self._latencies_ns],
        )

    def service_ns(self, positions: Sequence[int]) -> int:
        """A service time."""
        work, longest = float(len(positions)), 1.0
        if self._costs is not None:
            costs = [self._costs[position] for position in positions]
            work, longest = sum(costs), max(costs)
        jitter = self._draw.gauss(1.0, self._service.jitter)
        return max(0, round(1e6 * self._service.mean_ms(work, longest) * jitter))

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
