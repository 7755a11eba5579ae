"""Batches of samples: what `Task.infer` is given, and one of samples that lie in no arena.

Whoever has samples at hand answers them as an instance would: tests, calibration, references.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from models.task import Array


class RowBatch(ABC):
    """A `models.task.Batch` that says of each field only where its rows are."""

    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    @abstractmethod
    def views(self, field: str) -> list[Array]:
        """One array a sample, of its own shape."""

    def stacked(self, field: str) -> Array:
        """All samples as [n, ...]. Raises ValueError where their shapes differ."""
        return np.stack(self.views(field))

    def padded(self, field: str, to: int, fill: int = 0) -> Array:
        """All samples as [n, to, ...], where the first dimension varies, filled up at the end.

        Raises ValueError where one is longer.
        """
        rows = self.views(field)
        longest = max(map(len, rows))
        if longest > to:
            raise ValueError(f"{field}: a sample of {longest} does not fit {to}")
        padded = np.full((len(rows), to, *rows[0].shape[1:]), fill, rows[0].dtype)
        for place, row in zip(padded, rows, strict=True):
            place[: len(row)] = row
        return padded


class Samples(RowBatch):
    """A batch of samples in memory; `indices` are their numbers in the data set."""

    def __init__(
        self,
        samples: Sequence[Mapping[str, Array]],
        indices: Sequence[int] | None = None,
        costs: Sequence[float] | None = None,
    ) -> None:
        count = len(samples)
        self._samples = samples
        self.positions = range(count)
        self.indices: Sequence[int] = self.positions if indices is None else indices
        self.costs: Sequence[float] = [1.0] * count if costs is None else costs

    def views(self, field: str) -> list[Array]:
        """One array a sample, of its own shape."""
        return [sample[field] for sample in self._samples]
