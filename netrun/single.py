"""An engine inside another process: SingleStream has never more than one query to serve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netrun.config import NetrunConfig
from netrun.engines import Answer
from netrun.engines.create import create
from netrun.report import StartClock, write_report

Infer = Callable[[list[int], NDArray[np.uint8]], Answer]


def load_engine(config: NetrunConfig) -> Infer:
    """Load and prepare the engine, and report on it; the result answers ``(positions, samples)``.

    Raises EngineError.
    """
    clock = StartClock()
    clock.reached("imported")
    engine = create(config)
    engine.prepare()
    clock.reached("prepared")
    write_report(config, engine, None, clock)

    def infer(positions: list[int], samples: NDArray[np.uint8]) -> Answer:
        return engine.infer(samples, positions)

    return infer
