"""An engine inside another process: SingleStream has never more than one query to serve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netrun.config import NetrunConfig
from netrun.engines import Answer
from netrun.engines.create import create

Infer = Callable[[list[int], NDArray[np.uint8]], Answer]


def load_engine(config: NetrunConfig) -> Infer:
    """Load and prepare the engine; the result answers ``(positions, samples)``.

    Raises EngineError.
    """
    engine = create(config)
    engine.prepare()

    def infer(positions: list[int], samples: NDArray[np.uint8]) -> Answer:
        return engine.infer(samples, positions)

    return infer
