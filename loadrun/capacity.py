"""The Server load a plan can hold at its latency limit, from a standalone rate.

Model: c instances serve one sample at a time in a constant time D, queries arrive as a Poisson
process (LoadGen's Server), so the waiting time is that of an M/D/c queue. Its tail is taken as
P(W > t) = K * C * exp(-theta * t): theta is the exact decay rate of M/D/c, theta = lambda * x where
x > 0 solves rho * x = log(1 + x) (Tijms, "A First Course in Stochastic Models", 9.6); C is Erlang's
probability to wait; K is what makes the tail exact for c = 1 (the Cramer-Lundberg constant over
rho). It stays close for the loads of interest, and errs on the safe side for many instances.
"""

from __future__ import annotations

import math

_SERVICE_SPREAD = 1.2
"""A lone sample on a core that was idle takes longer than its share of back-to-back batches."""
_OVERHEAD_S = 0.5e-3
"""From LoadGen to an instance that sleeps, and back: three wake-ups, dear on a virtual machine."""
LIMIT_SHARE = 0.8
"""Part of the latency limit planned with; the rest is for what the machine does beside."""
_LOAD_SHARE = 0.9
"""Part of the computed load asked for: a default run is to be VALID, not a record."""
_HOPELESS_SHARE = 0.15


def waiting_tail(load: float, instances: int, wait_s: float, service_s: float) -> float:
    """Return P(waiting time > wait_s) of M/D/c at utilisation `load` (0 < load < 1)."""
    # log(1+x) starts above rho*x and crosses it once.
    low, high = 1e-12, 2.0
    while load * high < math.log1p(high):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if load * middle < math.log1p(middle) else (low, middle)
    arrival_rate = load * instances / service_s
    constant = (1 - load) / (load * (load * (1 + low) - 1))
    tail = constant * _erlang_c(load, instances) * math.exp(-arrival_rate * low * wait_s)
    return min(1.0, tail)


def _erlang_c(load: float, instances: int) -> float:
    offered = load * instances
    blocking = 1.0
    for servers in range(1, instances + 1):
        blocking = offered * blocking / (servers + offered * blocking)
    return blocking / (1 - load * (1 - blocking))


def fits_limit(rate: float, instances: int, limit_s: float) -> bool:
    """Whether a single sample is answered within the limit at all when nothing waits before it."""
    return service_time_s(rate, instances) < limit_s * LIMIT_SHARE


def service_time_s(rate: float, instances: int) -> float:
    """Return the planned time of one sample on one instance, in s (`rate`: total samples/s)."""
    return _SERVICE_SPREAD * instances / rate + _OVERHEAD_S


def server_qps(rate: float, instances: int, limit_s: float, percentile: float) -> float:
    """Return a target_qps at which `percentile` of the queries stay within `limit_s`.

    `rate` is the standalone rate of all instances together in samples/s. Where even a lone sample
    misses the limit there is no such load, and a low one is returned so that the run can tell.
    """
    if not fits_limit(rate, instances, limit_s):
        return _HOPELESS_SHARE * rate
    service_s = service_time_s(rate, instances)
    wait_s = limit_s * LIMIT_SHARE - service_s
    allowed = (1 - percentile) / 2
    low, high = 0.01, 0.99
    for _ in range(40):
        load = (low + high) / 2
        met = waiting_tail(load, instances, wait_s, service_s) <= allowed
        low, high = (load, high) if met else (low, load)
    return _LOAD_SHARE * low * instances / service_s
