"""Who takes part: every engine in every precision, through the seam that instances use.

A contestant is built as a run builds it and reads samples scattered over an arena; what is timed is
what an instance does for a batch: the task's inference, from pixels to answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.imagenet.classifier import classifier
from models.task import Array
from netrun.engines import ENGINES, PRECISIONS, EngineError, registry
from netrun.engines.engine import Answering, Engine, EngineSpec, answers
from netrun.engines.order import Order

Infer = Callable[[int], object]  # infer the i-th batch
TURNS = 8
"""Batches of different samples that a contestant goes through."""


@dataclass(frozen=True)
class Contestant:
    """An engine in a precision."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class Setting:
    """What all contestants share. `samples` and `calibration` are files of uint8 [n, h, w, c]."""

    model: str
    weights: str
    samples: str
    calibration: str
    batch: int
    threads: int
    cache: str


def contestants(precisions: Iterable[str] = PRECISIONS) -> list[Contestant]:
    """The engines that compute and can be used here, in these precisions."""
    return [
        Contestant(engine, precision)
        for precision in precisions
        for engine in ENGINES
        if registry.facts(engine).computes
        and precision in registry.facts(engine).precisions
        and _usable(engine)
    ]


def artifact_of(contestant: Contestant, setting: Setting) -> Path:
    """What the contestant executes, built unless it is there."""
    task = classifier(setting.model)
    (pixels,) = task.parts[0].inputs
    calibration = np.load(setting.calibration, mmap_mode="r")
    order = Order(
        task,
        Path(setting.weights),
        contestant.precision,
        setting.batch,
        setting.threads,
        Path(setting.cache),
        calibration=[{pixels.name: row} for row in calibration],
    )
    path = registry.build(contestant.engine, order)
    assert path is not None, "it computes"
    return path


def load(contestant: Contestant, setting: Setting, artifact: Path) -> Engine | Answering:
    """The contestant, ready."""
    return registry.load(
        contestant.engine,
        EngineSpec(
            classifier(setting.model),
            contestant.precision,
            artifact,
            setting.batch,
            setting.threads,
        ),
    )


def infer(contestant: Contestant, setting: Setting, artifact: Path) -> Infer:
    """What infers the contestant's i-th batch."""
    task, engine = classifier(setting.model), load(contestant, setting, artifact)
    answer = answers(task, engine)
    samples = np.load(setting.samples)
    count = len(samples)
    batches = [
        _Scattered(samples, [(i * setting.batch + k) * 7919 % count for k in range(setting.batch)])
        for i in range(TURNS)
    ]
    return lambda i: answer(batches[i % TURNS])


class _Scattered:
    """A batch of an arena with one field: `samples` are uint8 [count, h, w, c]."""

    def __init__(self, samples: NDArray[Any], positions: Sequence[int]) -> None:
        self._samples = samples
        self.positions = self.indices = positions
        self.costs: Sequence[float] = [1.0] * len(positions)

    def __len__(self) -> int:
        return len(self.positions)

    def views(self, field: str) -> list[Array]:
        return [self._samples[position] for position in self.positions]

    def stacked(self, field: str) -> Array:
        stacked: Array = self._samples[[*self.positions]]
        return stacked

    def padded(self, field: str, to: int, fill: int = 0) -> Array:
        raise NotImplementedError(f"{field}: all samples have one shape")


def _usable(engine: str) -> bool:
    try:
        registry.check(engine)
    except EngineError:
        return False
    return True
