"""The kernels of a ranking network on a batch of pairs, and the time that each takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from models.ranking import Shape
from models.samples import Prepared
from netrun.engines.ranking.executor import INTERACTION, Executor
from netrun.roofline.measurement import Layer
from netrun.roofline.passes import KernelPasses, Work

MOST_PAIRS = 200_000
"""Pairs that passes take their batches from."""


class PairPasses(KernelPasses):
    """Times of many passes, each over other pairs: their rows must come from memory."""

    def __init__(self, executor: Executor, samples: Prepared, batch_size: int) -> None:
        super().__init__(executor.run, executor.profile)
        self._shape = executor.shape
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

    def given(self) -> tuple[np.ndarray, np.ndarray]:
        """Other pairs than before."""
        if self._at + self._pairs > len(self._dense):
            self._at = 0
        here = slice(self._at, self._at + self._pairs)
        self._at += self._pairs
        return self._dense[here], self._sparse[here]

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""
        return tuple(self.layer(one, self._pairs) for one in work(self._shape, self._pairs))

    def macs_with_padding(self) -> int:
        """The work of a mean sample."""
        return sum(macs for *_, macs, _ in work(self._shape, self._pairs)) // self._samples


def work(shape: Shape, pairs: int, dense: int = 13) -> Iterator[Work]:
    """Of each kernel: name, values in and out, multiply-accumulates, bytes moved at least."""

    def linear(part: str, widths: tuple[int, ...]) -> Iterator[Work]:
        for number, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            moved = pairs * (narrow + wide) + narrow * wide + 8 * wide
            yield f"{part}.{2 * number}", narrow, wide, pairs * narrow * wide, moved

    yield from linear("bot_l", (dense, *shape.bottom))
    dots = shape.features * (shape.features - 1) // 2
    gathered = (shape.features - 1) * (shape.width + 4)
    moved = pairs * (gathered + shape.width + dots)
    yield INTERACTION, shape.features * shape.width, dots, pairs * dots * shape.width, moved
    yield from linear("top_l", (shape.interaction, *shape.top[:-1]))
