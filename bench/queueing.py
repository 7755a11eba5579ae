"""What an ideal dispatcher could reach: a central queue without any overhead, as a pure model.

Queries arrive as a Poisson process (LoadGen's Server). A server that is free takes up to b waiting
queries and serves them together in a time that depends on b alone, but for jitter. Nothing takes
time besides, and the queue knows at once which server is free: no real dispatcher can do better
with the same batches. Three bounds, from loose to close:

- `batch_bound`: servers that never idle and always serve the largest batch that fits the limit.
- `single_bound`: batches of one, from the waiting-time tail of M/D/c (Erlang's probability to wait
  times the exponential decay of a constant service time, see `loadrun.capacity`).
- `highest_rate`: a simulation of loadrun's own dispatcher where nothing but serving takes time, and
  it knows of a free server at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.simulated.serving import ideal_latencies
from loadrun.capacity import waiting_tail
from netrun.config import SimulatedService

BATCH_SIZE = 8


@dataclass(frozen=True)
class Service:
    """A batch of b takes (base_s + b * sample_s) * N(1, jitter) seconds."""

    base_s: float
    sample_s: float
    jitter: float = 0.0

    def mean_s(self, batch: int) -> float:
        """Return the mean time of a batch."""
        return self.base_s + batch * self.sample_s

    def rate(self, batch: int) -> float:
        """Return the samples/s of a server that always serves batches of that size."""
        return batch / self.mean_s(batch)

    def largest_batch(self, within_s: float) -> int:
        """Return the largest batch whose mean time fits, 0 for none."""
        return max(0, int((within_s - self.base_s) / self.sample_s + 1e-9))


def batch_bound(service: Service, servers: int, limit_s: float) -> float:
    """Return the queries/s of servers always busy with the largest batch that fits the limit."""
    return servers * service.rate(max(1, service.largest_batch(limit_s)))


def single_bound(service: Service, servers: int, limit_s: float, late: float = 0.01) -> float:
    """Return the queries/s at which a share `late` of them waits too long, served one by one."""
    time_s = service.mean_s(1)
    low, high = 0.01, 0.9999
    for _ in range(40):
        load = (low + high) / 2
        met = waiting_tail(load, servers, limit_s - time_s, time_s) <= late
        low, high = (load, high) if met else (low, load)
    return low * servers / time_s


def simulate(
    service: Service,
    servers: int,
    limit_s: float,
    rate: float,
    queries: int,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[float]:
    """Return the latencies (s) of `queries` queries arriving at `rate` per second."""
    simulated = SimulatedService(1e3 * service.base_s, 1e3 * service.sample_s, service.jitter)
    return ideal_latencies(simulated, servers, batch_size, limit_s, rate, queries)


def highest_rate(
    service: Service,
    servers: int,
    limit_s: float,
    *,
    late: float = 0.01,
    queries: int = 60_000,
    steps: int = 7,
) -> float:
    """Return the highest rate (queries/s) at which a share of at most `late` is above the limit."""
    bound = batch_bound(service, servers, limit_s)
    low, high = min(0.5 * bound, single_bound(service, servers, limit_s, late)), bound
    for _ in range(steps):
        rate = (low + high) / 2
        latencies = simulate(service, servers, limit_s, rate, queries)
        met = sum(latency > limit_s for latency in latencies) <= late * queries
        low, high = (rate, high) if met else (low, rate)
    return low
