"""The kernels of a ranking network on a batch of pairs, and the time that each takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from models.ranking import Shape
from models.samples import Prepared
from netrun.engines.ranking.crossed import POOLED
from netrun.engines.ranking.dots import INTERACTION
from netrun.engines.ranking.executor import Executor
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

    def layer(name: str, narrow: int, wide: int, read: int = 1, written: int = 1) -> Work:
        moved = pairs * (read * narrow + written * wide) + read * narrow * wide + 8 * wide
        return name, narrow, wide, pairs * narrow * wide, moved

    def linear(part: str, widths: tuple[int, ...], low: int, first: int) -> Iterator[Work]:
        for number, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            yield layer(f"{part}.{2 * number}", narrow, wide, first if number == 0 else low, low)

    top = (shape.interaction, *shape.top[:-1])
    if shape.cross_rank:
        # bfloat16 but for the wide halves and the top network behind its first layer.
        yield from linear("bot_l", (dense, *shape.bottom), 2, 2)
        moved = pairs * (shape.lookups * (shape.width + 4) + 4 * shape.interaction)
        yield POOLED, shape.lookups * shape.width, shape.interaction, 0, moved
        for number in range(3):
            size = shape.interaction, shape.cross_rank
            yield layer(f"cross.narrow.{number}", *size, read=2)
            # x and what it started from are read, x is written.
            yield layer(f"cross.wide.{number}", *size[::-1], written=6)
        yield from linear("top_l", top, 1, 2)
        return
    yield from linear("bot_l", (dense, *shape.bottom), 1, 1)
    dots = shape.features * (shape.features - 1) // 2
    gathered = (shape.features - 1) * (shape.width + 4)
    moved = pairs * (gathered + shape.width + dots)
    yield INTERACTION, shape.features * shape.width, dots, pairs * dots * shape.width, moved
    yield from linear("top_l", top, 1, 1)
