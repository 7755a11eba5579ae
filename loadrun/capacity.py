"""What a plan can do, from the rate of its instances alone: Server's load at the latency limit,
Offline's efficiency, the longest batch.

Rates are in mean samples: where costs differ, work/s, which is samples/s of the whole data set.

Model: c instances serve one sample at a time in D times its cost, queries arrive as a Poisson
process (LoadGen's Server), so the waiting time is that of an M/G/c queue, M/D/c where costs are
equal. Its tail is taken as P(W > t) = K * C * exp(-theta * t): theta is the decay rate, theta =
lambda * x where x > 0 solves E[exp(rho * x * cost)] = 1 + x, for equal costs rho * x = log(1 + x),
which is exact (Tijms, "A First Course in Stochastic Models", 9.6); C is Erlang's probability to
wait; K is what makes the tail exact for c = 1 (the Cramer-Lundberg constant over rho). It stays
close for the loads of interest, and errs on the safe side for many instances.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

EQUAL = (1.0,)
"""Costs of samples that all cost the same."""
_SERVICE_SPREAD = 1.2
"""A lone sample on a core that was idle takes longer than its share of back-to-back batches."""
_OVERHEAD_S = 0.5e-3
"""From LoadGen to an instance that sleeps, and back: three wake-ups, dear on a virtual machine."""
LIMIT_SHARE = 0.8
"""Part of the latency limit planned with; the rest is for what the machine does beside."""
_LOAD_SHARE = 0.9
"""Part of the computed load asked for: a default run is to be VALID, not a record."""
_HOPELESS_SHARE = 0.15


def waiting_tail(
    load: float, instances: int, wait_s: float, service_s: float, costs: Sequence[float] = EQUAL
) -> float:
    """Return P(waiting time > wait_s) at utilisation `load` (0 < load < 1).

    `service_s` is the time of a mean sample; `costs` are equally likely and 1 on average.
    """
    # The logarithm of what a service adds starts above log(1+x)'s slope and crosses it once.
    low, high = 1e-12, 2.0
    while _log_growth(load * high, costs) < math.log1p(high):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        below = _log_growth(load * middle, costs) < math.log1p(middle)
        low, high = (middle, high) if below else (low, middle)
    arrival_rate = load * instances / service_s
    # E[cost exp(rho x cost)], which is 1 + x where costs are equal.
    slope = sum(cost * math.exp(load * low * cost) for cost in costs) / len(costs)
    slope = 1 + low if len(costs) == 1 else slope
    constant = (1 - load) / (load * (load * slope - 1))
    tail = constant * _erlang_c(load, instances) * math.exp(-arrival_rate * low * wait_s)
    return min(1.0, tail)


def _log_growth(rate: float, costs: Sequence[float]) -> float:
    """Return log(E[exp(rate * cost)])."""
    largest = rate * max(costs)
    return largest + math.log(sum(math.exp(rate * cost - largest) for cost in costs) / len(costs))


def _erlang_c(load: float, instances: int) -> float:
    offered = load * instances
    blocking = 1.0
    for servers in range(1, instances + 1):
        blocking = offered * blocking / (servers + offered * blocking)
    return blocking / (1 - load * (1 - blocking))


def fits_limit(rate: float, instances: int, limit_s: float, cost: float = 1.0) -> bool:
    """Whether a single sample of that cost is answered within the limit when nothing waits."""
    return service_time_s(rate, instances, cost) < limit_s * LIMIT_SHARE


def service_time_s(rate: float, instances: int, cost: float = 1.0) -> float:
    """Return the planned time of one sample of that cost on one instance, in s.

    `rate` is that of all instances together.
    """
    return _SERVICE_SPREAD * cost * instances / rate + _OVERHEAD_S


def server_qps(
    rate: float,
    instances: int,
    limit_s: float,
    percentile: float,
    costs: Sequence[float] = EQUAL,
) -> float:
    """Return a target_qps at which `percentile` of the queries stay within `limit_s`.

    `rate` is the standalone rate of all instances together, `costs` are equally likely ones of
    samples, as `quantiles` gives them. Where lone samples miss the limit too often there is no such
    load, and a low one is returned so that the run can tell.
    """
    allowed = (1 - percentile) / 2
    services_s = [service_time_s(rate, instances, cost) for cost in costs]
    service_s = sum(services_s) / len(services_s)
    waits_s = [limit_s * LIMIT_SHARE - lone_s for lone_s in services_s]
    if sum(wait_s <= 0 for wait_s in waits_s) > allowed * len(waits_s):
        return _HOPELESS_SHARE * rate

    def late(load: float) -> float:
        """A long sample has less time to wait."""
        each = (
            waiting_tail(load, instances, wait_s, service_s, costs) if wait_s > 0 else 1.0
            for wait_s in waits_s
        )
        return sum(each) / len(waits_s)

    low, high = 0.01, 0.99
    for _ in range(40):
        load = (low + high) / 2
        met = late(load) <= allowed
        low, high = (load, high) if met else (low, load)
    return _LOAD_SHARE * low * instances / service_s


def quantiles(costs: Sequence[float], count: int = 20) -> list[float]:
    """Return `count` equally likely values that stand for `costs`, with their mean."""
    ordered = sorted(costs)
    edges = [round(i * len(ordered) / count) for i in range(count + 1)]
    parts = [ordered[a:b] for a, b in itertools.pairwise(edges) if b > a]
    return [sum(part) / len(part) for part in parts]


def at_share(costs: Sequence[float], share: float) -> float:
    """Return the cost that this share of equally likely ones does not exceed."""
    ordered = sorted(costs)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def harness_efficiency(samples_s: float, alone: float, mean_cost: float = 1.0) -> float:
    """Return Offline's rate as a part of what the instances do alone.

    `samples_s` is LoadGen's rate, `mean_cost` the mean cost of the samples that it drew from,
    `alone` the instances' rate at warm-up in mean samples/s.
    """
    return samples_s * mean_cost / alone


def longest_batch_s(rate: float, most: float, longest: float = 1.0) -> float:
    """Return how long an instance may take for a batch at `rate`, its own in mean samples/s.

    `most` is the most work of a batch (its size, where costs are equal); a sample of `longest`, the
    largest cost, is sent even where it alone is more. Whoever judges an instance silent counts from
    this on, not from a mean batch.
    """
    return max(most, longest) / rate
