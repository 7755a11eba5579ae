"""Samples that stand for a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.samples import Prepared
from models.task import Array


def typical(samples: Prepared, count: int) -> list[Mapping[str, Array]]:
    """`count` samples whose work is evenly spread over that of all."""
    return [samples[index] for index in middle(samples.costs.tolist(), count)]


def middle(costs: Sequence[float], count: int) -> list[int]:
    """Indices of `count` that are evenly spread over all, by rising cost."""
    order = sorted(range(len(costs)), key=lambda index: costs[index])
    return [order[int((each + 0.5) / count * len(order))] for each in range(count)]
