"""An engine that waits a modelled service time: many instances can be studied on few processors."""

from __future__ import annotations

import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netrun.engines import PRECISIONS
from netrun.engines.engine import EngineFacts
from netrun.engines.null import NullEngine

if TYPE_CHECKING:
    from models.task import Answers, Batch
    from netrun.config import SimulatedService
    from netrun.engines.engine import EngineSpec
    from netrun.engines.order import Order

ENGINE = EngineFacts("waits a modelled time", PRECISIONS, computes=False)


def check() -> None:
    """It can be used anywhere."""


def build(order: Order) -> Path | None:
    """Nothing is needed."""
    return None


def load(spec: EngineSpec) -> SimulatedEngine:
    """The engine; its model of time is the specification's `service`."""
    return SimulatedEngine(spec.batch_size, spec.service, spec.seed)


class SimulatedEngine:
    """Sleeps for the service time of a batch, on average, then answers every sample with 0."""

    def __init__(self, batch_size: int, service: SimulatedService, seed: int) -> None:
        self._null = NullEngine(batch_size)
        self._service = service
        self._random = random.Random(seed)
        self._late_s = 0.0

    def service_s(self, work: float, longest: float = 1.0) -> float:
        """A service time for a batch of that work and largest cost, in seconds."""
        mean = self._service.mean_ms(work, longest) / 1e3
        return max(0.0, mean * self._random.gauss(1.0, self._service.jitter))

    def answer(self, batch: Batch) -> Answers:
        """Wait, then answer."""
        costs = batch.costs
        self._wait(sum(costs), max(costs))
        return self._null.answer(batch)

    def _wait(self, work: float, longest: float) -> None:
        # The kernel wakes a sleeper late, by more than the jitter where processors are few.
        asked_s = max(0.0, self.service_s(work, longest) - self._late_s)
        start = time.monotonic()
        time.sleep(asked_s)
        late_s = time.monotonic() - start - asked_s
        self._late_s += (late_s - self._late_s) / 16

    def describe(self) -> dict[str, Any]:
        """The service model."""
        return {"service": asdict(self._service)}
