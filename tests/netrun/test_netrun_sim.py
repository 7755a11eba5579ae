"""The simulated engine's time by a clock of the test's own."""

from __future__ import annotations

import numpy as np
import pytest

from models.batch import Samples
from netrun.config import SimulatedService
from netrun.engines import sim


class Clock:
    """Time that passes only in sleeps, each of which takes too long."""

    def __init__(self, late_s: float) -> None:
        self.now = 0.0
        self._late_s = late_s

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self._late_s


@pytest.mark.parametrize("late_s", [0.0, 0.004])
def test_service_takes_what_is_modelled_whatever_sleeps_add(
    monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    clock = Clock(late_s)
    monkeypatch.setattr(sim, "time", clock)
    service = SimulatedService(base_ms=2, sample_ms=10, jitter=0)
    engine = sim.SimulatedEngine(4, service, seed=1)
    batch = Samples([{}, {}, {}])
    taken = []
    for _ in range(200):
        began = clock.now
        engine.answer(batch)
        taken.append(clock.now - began)
    assert taken[0] == pytest.approx(0.032 + late_s)
    assert np.mean(taken[100:]) == pytest.approx(0.032, rel=0.01)
