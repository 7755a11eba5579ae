"""LoadGen's query sample library (QSL) over the sample arena."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from base.errors import quoted
from loadrun.clock import ClockWatch

Samples = npt.NDArray[np.uint8]


class LibraryError(ValueError):
    """The samples cannot be served; the message names the file or the counts."""


def open_samples(path: str | Path, sample_count: int) -> Samples:
    """Map a .npy file, uint8 [n, *sample shape], read-only and return its first `sample_count`.

    Raises LibraryError.
    """
    try:
        samples = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise LibraryError(f"cannot read samples {path}: {error.strerror or error}") from None
    except Exception as error:  # NumPy's header is a Python literal: whatever parsing one raises
        raise LibraryError(f"{path}: not a .npy file of samples: {quoted(str(error))}") from None
    if samples.dtype != np.uint8 or samples.ndim < 2:
        raise LibraryError(
            f"{path}: expected uint8 [n, *sample shape], found {samples.dtype} {samples.shape}"
        )
    if len(samples) < sample_count:
        raise LibraryError(f"{path}: holds {len(samples)} samples, sample_count is {sample_count}")
    chosen: Samples = samples[:sample_count]
    return chosen


class SampleLibrary:
    """Copies the samples that LoadGen asks for into the arena, and knows where each one is.

    `source` is uint8 [n, *shape] (memory-mapped), `arena` uint8 [slots, *shape]. LoadGen loads one
    set at a time, of at most `performance_sample_count` different samples. `clock` is told when a
    set is there and when it goes: between the two LoadGen measures.
    """

    def __init__(self, source: Samples, arena: Samples, clock: ClockWatch | None = None) -> None:
        if source.shape[1:] != arena.shape[1:]:
            raise LibraryError(f"samples of {source.shape[1:]} in an arena of {arena.shape[1:]}")
        self._source = source
        self._mapping = _mapping_of(source)
        self._arena = arena
        self._clock = clock
        self._position_of = [-1] * len(source)
        self._free = list(range(len(arena)))

    @property
    def total_sample_count(self) -> int:
        """Samples in the data set."""
        return len(self._source)

    @property
    def performance_sample_count(self) -> int:
        """Samples that fit the arena."""
        return len(self._arena)

    def load(self, indices: list[int]) -> None:
        """LoadSamplesToRam: copy these samples, in file order. MultiStream repeats some."""
        table = self._position_of
        wanted = sorted(index for index in set(indices) if table[index] < 0)
        if len(wanted) > len(self._free):
            raise LibraryError(
                f"LoadGen loads {len(wanted)} samples, the arena has room for {len(self._free)}"
            )
        # In file order both sides of the copy are read and written from front to back.
        self._free.sort()
        positions, self._free = self._free[: len(wanted)], self._free[len(wanted) :]
        for index, position in zip(wanted, positions, strict=True):
            self._arena[position] = self._source[index]
            table[index] = position
        if self._mapping is not None:
            # What was read stays in the page cache, but no longer counts as memory of this process.
            self._mapping.madvise(mmap.MADV_DONTNEED)
        if self._clock is not None:
            self._clock.begin()

    def unload(self, indices: list[int]) -> None:
        """UnloadSamplesFromRam: give the positions of these samples back."""
        if self._clock is not None:
            self._clock.end()
        table = self._position_of
        for index in set(indices):
            if table[index] >= 0:
                self._free.append(table[index])
                table[index] = -1

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


def _mapping_of(source: Samples) -> mmap.mmap | None:
    """Return the mapped file behind an array; None where it lies in memory."""
    base: object = source
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
