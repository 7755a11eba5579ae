"""An engine that answers at once: what is left is the cost of everything around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netrun.engines import PRECISIONS, Answer
from netrun.engines.engine import EngineFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.task import Batch
    from netrun.engines.engine import EngineSpec
    from netrun.engines.order import Order

ENGINE = EngineFacts("answers at once", PRECISIONS, computes=False)
ANSWER = bytes(4)


def check() -> None:
    """It can be used anywhere."""


def build(order: Order) -> Path | None:
    """Nothing is needed."""
    return None


def load(spec: EngineSpec) -> NullEngine:
    """The engine."""
    return NullEngine(spec.batch_size)


class NullEngine:
    """Answers every sample with the int32 0."""

    def __init__(self, batch_size: int) -> None:
        self._answers = [[ANSWER] * count for count in range(batch_size + 1)]
        self._payloads = [b"".join(answers) for answers in self._answers]

    def prepare(self) -> None:
        """Nothing to prepare."""

    def answer(self, batch: Batch) -> Sequence[bytes]:
        """Answer without looking at the samples."""
        return self._answers[len(batch)]

    def infer(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> Answer:
        """Answer without looking at the samples."""
        return Answer(self._payloads[len(positions)], len(ANSWER))

    def describe(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}
