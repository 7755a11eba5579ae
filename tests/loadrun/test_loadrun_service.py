"""How long batches are expected to take: from a measurement, and from what tests show."""

from __future__ import annotations

import pytest

from loadrun.dispatch.batching import Backlog, LatencyRule
from loadrun.dispatch.service import ServiceTimes

MEASURED_MS = [6.0, 7.0, 8.0, 20.0]


def test_without_a_measurement_time_is_proportional_and_unknown_at_first() -> None:
    times = ServiceTimes(4)
    assert times.of(3) == 0
    times.learn(2, 10_000_000)
    assert times.of(1) == 5e6
    assert times.of(4) == 20e6
    assert times.fitting(12e6, 1.0) == 2
    assert times.fitting(4e6, 1.0) == 0


def test_a_measurement_is_known_before_the_first_batch() -> None:
    times = ServiceTimes(4, MEASURED_MS)
    assert [times.of(n) for n in (1, 2, 3, 4)] == [6e6, 7e6, 8e6, 20e6]
    assert times.fitting(10e6, 1.0) == 3
    assert times.fitting(8.5e6, 1.1) == 2


def test_what_tests_show_scales_all_sizes() -> None:
    times = ServiceTimes(4, MEASURED_MS)
    for _ in range(200):
        times.learn(2, 14_000_000)
    assert times.of(4) == pytest.approx(40e6, rel=1e-3)


def test_a_larger_batch_never_takes_less() -> None:
    times = ServiceTimes(3, [6.0, 9.0, 8.8])
    assert times.of(3) == times.of(2) == 9e6
    assert times.fitting(9e6, 1.0) == 3


@pytest.mark.parametrize("measured", [[1.0, 2.0], [0.0, 1.0, 2.0]])
def test_a_measurement_that_does_not_fit_is_not_used(measured: list[float]) -> None:
    assert ServiceTimes(3, measured).of(2) == 0


@pytest.mark.parametrize(
    ("ns", "samples"), [(1e6, 1), (6.4e6, 1), (6.6e6, 2), (13e6, 3), (15e6, 4), (99e6, 4)]
)
def test_the_nearest_size(ns: float, samples: int) -> None:
    assert ServiceTimes(4, MEASURED_MS).nearest(ns, 1.0) == samples


def test_the_first_batch_of_a_server_test_fits_the_limit() -> None:
    waiting = Backlog(waiting=4, idle=1, alive=1, oldest_wait_ns=0)
    assert LatencyRule(4, 2, 10e6).next(waiting, shares=False)[0] == 4
    assert LatencyRule(4, 2, 10e6, MEASURED_MS).next(waiting, shares=False)[0] == 3
