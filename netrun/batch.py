"""A batch of the arena's rows, as a task is given it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from models.batch import RowBatch
from shm.arena import SampleArena

Array = NDArray[Any]


class ArenaBatch(RowBatch):
    """Samples that are read where they lie (`models.task.Batch`)."""

    def __init__(self, arena: SampleArena, positions: list[int]) -> None:
        self._arena = arena
        self.positions: list[int] = positions

    @property
    def indices(self) -> list[int]:
        """LoadGen's sample indices."""
        found: list[int] = self._arena.indices[self.positions].tolist()
        return found

    @property
    def costs(self) -> list[float]:
        """Work of each sample in parts of the mean."""
        found: list[float] = self._arena.costs[self.positions].tolist()
        return found

    def views(self, field: str) -> list[Array]:
        """One array a sample, where it lies in the arena."""
        column = self._arena.columns.get(field)
        if column is not None:
            return [column[position] for position in self.positions]
        return [self._arena.row(field, position) for position in self.positions]

    def stacked(self, field: str) -> Array:
        """All samples as [n, ...]: where they lie if they are neighbours, else copied together.

        Raises ValueError where their shapes differ.
        """
        column = self._arena.columns.get(field)
        if column is None:
            return super().stacked(field)
        first, count = self.positions[0], len(self.positions)
        if self.positions == list(range(first, first + count)):
            return column[first : first + count]
        return column.take(self.positions, axis=0)
