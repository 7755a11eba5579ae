"""The kernels of a ranking network on a batch of pairs, and the time that each takes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping

import numpy as np

from models.ranking import Shape
from models.samples import Prepared
from netrun.engines.ranking.executor import INTERACTION, Executor
from netrun.roofline.measurement import Layer

KERNEL = "AMX, our own"
MOST_PAIRS = 200_000
"""Pairs that passes take their batches from."""


class PairPasses:
    """Times of many passes, each over other pairs: their rows must come from memory."""

    def __init__(self, executor: Executor, samples: Prepared, batch_size: int) -> None:
        self._executor = executor
        self._samples = batch_size
        costs = np.cumsum(samples.costs)
        count = max(1, int(np.searchsorted(costs, MOST_PAIRS)))
        held = [samples[index] for index in range(min(count, len(samples)))]
        self._dense, self._sparse = (
            np.concatenate([sample[name] for sample in held]) for name in ("dense", "sparse")
        )
        mean = float(samples.costs.mean())
        self._pairs = min(len(self._dense), max(1, round(batch_size * mean)))
        self._at = 0
        self._steps: list[Mapping[str, int]] = []
        self._wholes: list[int] = []

    def warm(self) -> None:
        """One pass that does not count: other work has been through the caches."""
        self._executor.run(*self._next())

    def measure(self) -> None:
        """One pass kernel by kernel and one as a whole."""
        given = self._next()
        began = time.perf_counter_ns()
        self._executor.run(*given)
        self._wholes.append(time.perf_counter_ns() - began)
        self._steps.append(self._executor.profile(*self._next()))

    def __len__(self) -> int:
        return len(self._wholes)

    def whole_ns(self) -> float:
        """The median of whole passes."""
        return float(np.median(self._wholes))

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""
        pairs = self._pairs
        return tuple(
            Layer(
                name=name,
                source=(pairs, source),
                output=(pairs, output),
                kernel=KERNEL,
                macs=macs,
                bytes=moved,
                seconds=max(float(np.median([step[name] for step in self._steps])), 1.0) / 1e9,
            )
            for name, source, output, macs, moved in work(self._executor.shape, pairs)
        )

    def macs_with_padding(self) -> int:
        """The work of a mean sample."""
        return sum(layer.macs for layer in self.layers()) // self._samples

    def _next(self) -> tuple[np.ndarray, np.ndarray]:
        if self._at + self._pairs > len(self._dense):
            self._at = 0
        here = slice(self._at, self._at + self._pairs)
        self._at += self._pairs
        return self._dense[here], self._sparse[here]


def work(shape: Shape, pairs: int, dense: int = 13) -> Iterator[tuple[str, int, int, int, int]]:
    """Of each kernel: name, values in and out, multiply-accumulates, bytes moved at least."""

    def linear(part: str, widths: tuple[int, ...]) -> Iterator[tuple[str, int, int, int, int]]:
        for number, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            moved = pairs * (narrow + wide) + narrow * wide + 8 * wide
            yield f"{part}.{2 * number}", narrow, wide, pairs * narrow * wide, moved

    yield from linear("bot_l", (dense, *shape.bottom))
    dots = shape.features * (shape.features - 1) // 2
    gathered = (shape.features - 1) * (shape.width + 4)
    moved = pairs * (gathered + shape.width + dots)
    yield INTERACTION, shape.features * shape.width, dots, pairs * dots * shape.width, moved
    yield from linear("top_l", (shape.interaction, *shape.top[:-1]))
