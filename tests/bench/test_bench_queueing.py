"""The model of an ideal dispatcher, against what queueing theory knows exactly."""

from __future__ import annotations

import pytest

from bench.queueing import Service, batch_bound, highest_rate, simulate, single_bound
from bench.simulated.serving import late_share
from netrun.config import SimulatedService

RESNET50 = Service(0.4e-3, 4.3e-3, 0.05)
LIMIT_S = 15e-3


def test_a_batch_time_and_its_inverse() -> None:
    assert RESNET50.mean_s(3) == pytest.approx(13.3e-3)
    assert RESNET50.rate(2) == pytest.approx(2 / 9e-3)
    assert [RESNET50.largest_batch(s) for s in (0.0, 4.7e-3, 13.3e-3, 17.5e-3)] == [0, 1, 3, 3]
    assert batch_bound(RESNET50, 28, LIMIT_S) == pytest.approx(28 * 3 / 13.3e-3)


def test_one_server_waits_as_pollaczek_and_khinchine_say() -> None:
    # M/D/1: mean wait = rho * D / (2 (1 - rho)), whatever the order.
    load = 0.7
    latencies = simulate(Service(0.0, 1.0), 1, 1.5, load, 100_000, batch_size=1)
    assert sum(latencies) / len(latencies) - 1.0 == pytest.approx(load / (2 * (1 - load)), rel=0.05)


def test_without_load_nothing_waits() -> None:
    latencies = simulate(Service(0.001, 0.002), 4, 1.0, 0.5, 2000)
    assert max(latencies) == pytest.approx(0.003)


def test_every_query_is_served_also_beyond_capacity() -> None:
    assert len(simulate(RESNET50, 3, LIMIT_S, 5000.0, 4000)) == 4000


def test_one_by_one_the_tail_of_a_multi_server_queue_is_met() -> None:
    # Late queries give way, so that there are fewer of them than first come, first served has.
    service, servers, limit_s = Service(0.0, 4.7e-3), 28, 9.3e-3
    rate = single_bound(service, servers, limit_s, late=0.05)
    latencies = simulate(service, servers, limit_s, rate, 50_000)
    assert 0 < sum(x > limit_s for x in latencies) / 50_000 < 0.05


def test_an_ideal_dispatcher_stays_below_servers_that_never_idle() -> None:
    each = [highest_rate(RESNET50, n, LIMIT_S, queries=8_000, steps=5) / n for n in (1, 8, 56)]
    assert each == sorted(each)
    assert 56 * each[-1] < batch_bound(RESNET50, 56, LIMIT_S)


def test_a_pressed_server_does_not_fall_into_batches_of_one() -> None:
    # Batches of one would take 1.01 of the machine, batches of two 0.97.
    service = SimulatedService(0.4, 4.3, 0.05)
    assert late_share(service, 28, 8, "pull", 2, 15e-3, 0.93 * 28 * 230, 20_000, seed=1) < 0.01
