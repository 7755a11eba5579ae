"""LoadGen's query sample library (QSL) over the sample arena."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from base.errors import InputError
from loadrun.clock import ClockWatch
from models.samples import Prepared
from shm.arena import ArenaField, ArenaFullError, ArenaLayout, SampleArena, heap_bytes

WARM_UP_BYTES = 256 << 20
"""What is loaded for a warm-up: more than caches hold, and read in a moment."""


class LibraryError(ValueError):
    """The samples cannot be served; the message names the folder or the counts."""


def open_samples(path: str | Path, sample_count: int) -> Prepared:
    """Map a folder of prepared samples and return its first `sample_count`. Raises LibraryError."""
    try:
        samples = Prepared.open(Path(path))
    except InputError as error:
        raise LibraryError(str(error)) from None
    if len(samples) < sample_count:
        raise LibraryError(f"{path}: holds {len(samples)} samples, sample_count is {sample_count}")
    return samples.head(sample_count)


def arena_layout(samples: Prepared, slots: int) -> ArenaLayout:
    """Return the layout of an arena with room for any `slots` of the samples."""
    fields = tuple(ArenaField(field.name, field.dtype, field.shape) for field in samples.fields)
    varying = [samples.nbytes(field.name) for field in samples.fields if not field.fixed]
    return ArenaLayout(slots, fields, heap_bytes(np.stack(varying, 1), slots) if varying else 0)


class SampleLibrary:
    """Copies the samples that LoadGen asks for into the arena, and knows where each one is.

    LoadGen loads one set at a time, of at most `performance_sample_count` different samples. They
    are laid out by falling work, so that the order of positions is longest first; where all are the
    same work, in the order of the data set. `costs` holds the work of the sample at each position
    in parts of the mean; it is None where all are the same. `relative` (float64 [n]) is that of the
    whole data set, `mean_cost` the mean of the set loaded last. `clock` is told when a set is there
    and when it goes: between the two LoadGen measures.
    """

    def __init__(
        self, source: Prepared, arena: SampleArena, clock: ClockWatch | None = None
    ) -> None:
        self._source = source
        self._arena = arena
        self._clock = clock
        self._position_of = [-1] * len(source)
        self._free = list(range(arena.slots))
        costs = np.asarray(source.costs)
        even = costs.min() == costs.max()
        self.relative = np.ones(len(costs)) if even else costs / costs.mean()
        self.mean_cost = 1.0
        self.costs: list[float] | None = None if even else [1.0] * arena.slots

    @property
    def total_sample_count(self) -> int:
        """Samples in the data set."""
        return len(self._source)

    @property
    def performance_sample_count(self) -> int:
        """Samples that fit the arena."""
        return self._arena.slots

    def load(self, indices: list[int]) -> None:
        """LoadSamplesToRam: copy these samples. MultiStream repeats some."""
        self._load(indices)
        if self.costs is not None:
            self.mean_cost = float(self.relative[list(set(indices))].mean())
        if self._clock is not None:
            self._clock.begin()

    def unload(self, indices: list[int]) -> None:
        """UnloadSamplesFromRam: give the positions of these samples back."""
        if self._clock is not None:
            self._clock.end()
        self._unload(indices)

    def load_for_warm_up(self) -> list[int]:
        """Load samples evenly spread over their work, to be unloaded before the test.

        Returns their positions: as many as the arena takes and is read in a moment. Where that is
        one, it is the cheapest: such large samples take long, and any one tells the rate.
        """
        order = self._longest_first(range(len(self._source)))
        sizes = sum(self._source.nbytes(field.name) for field in self._source.fields)
        each = max(1.0, float(np.mean(sizes)))
        count = max(1, min(len(order), self._arena.slots, int(WARM_UP_BYTES / each)))
        if count == 1:
            return self._load(order[-1:])
        return self._load([order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count)])

    def unload_all(self) -> None:
        """Empty the arena."""
        self._unload([index for index, position in enumerate(self._position_of) if position >= 0])

    def _load(self, indices: Sequence[int]) -> list[int]:
        table = self._position_of
        wanted = self._longest_first({index for index in indices if table[index] < 0})
        if len(wanted) > len(self._free):
            raise LibraryError(
                f"LoadGen loads {len(wanted)} samples, the arena has room for {len(self._free)}"
            )
        self._free.sort()
        positions, self._free = self._free[: len(wanted)], self._free[len(wanted) :]
        arena, source, relative = self._arena, self._source, self.relative
        for index, position in zip(wanted, positions, strict=True):
            cost = float(relative[index])
            try:
                arena.put(position, index, cost, source[index])
            except ArenaFullError as error:
                raise LibraryError(str(error)) from None
            table[index] = position
            if self.costs is not None:
                self.costs[position] = cost
        source.forget()
        return positions

    def _unload(self, indices: Sequence[int]) -> None:
        table = self._position_of
        for index in set(indices):
            if table[index] >= 0:
                self._arena.clear(table[index])
                self._free.append(table[index])
                table[index] = -1

    def _longest_first(self, indices: Sequence[int] | set[int]) -> list[int]:
        """By falling work; else in file order, in which both sides are read from front to back."""
        ordered = sorted(indices)
        if self.costs is not None:
            ordered.sort(key=lambda index: -self.relative[index])
        return ordered

    def positions(self, indices: list[int]) -> list[int]:
        """Return the arena position of each sample; -1 for one that is not loaded."""
        table = self._position_of
        if len(indices) == 1:
            return [table[indices[0]]]
        return [table[index] for index in indices]

    def indices(self, positions: list[int]) -> list[int]:
        """Return the samples that lie at these arena positions, in ascending order. Slow."""
        wanted = set(positions)
        return [index for index, position in enumerate(self._position_of) if position in wanted]
