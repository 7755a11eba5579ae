"""How large a ranking network is: dense layers around embedding tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNED, UNSIGNED = 127, 255
"""The largest number of values that are stored in 8 bits."""


@dataclass(frozen=True)
class Shape:
    """What sets one DLRM apart from another."""

    bottom: tuple[int, ...]
    """Widths of the bottom network behind its inputs; the last is the embeddings' width."""
    top: tuple[int, ...]
    """Widths of the top network behind the interaction; the last is 1."""
    rows: tuple[int, ...]
    """Rows of each embedding table."""
    hot: tuple[int, ...] = ()
    """Rows of each table that are summed for a pair; one each where none are given."""
    cross_rank: int = 0
    """Rank of the three cross layers of v2; 0: dot products of all pairs of features, as in v1."""

    def __post_init__(self) -> None:
        if not self.hot:
            object.__setattr__(self, "hot", (1,) * len(self.rows))

    @property
    def width(self) -> int:
        """Width of an embedding."""
        return self.bottom[-1]

    @property
    def lookups(self) -> int:
        """Rows that are read for a pair."""
        return sum(self.hot)

    @property
    def firsts(self) -> NDArray[np.int64]:
        """Where each table's rows begin, where all stand behind one another."""
        counts = np.array(self.rows, np.int64)
        return np.cumsum(counts) - counts

    @property
    def features(self) -> int:
        """Vectors that interact: the bottom network's output and one a table."""
        return 1 + len(self.rows)

    @property
    def interaction(self) -> int:
        """Width of what enters the top network."""
        if self.cross_rank:
            return self.features * self.width
        return self.width + self.features * (self.features - 1) // 2

    def capped(self, rows: int) -> Shape:
        """Return the same network with at most so many rows a table."""
        capped = tuple(min(count, rows) for count in self.rows)
        return Shape(self.bottom, self.top, capped, self.hot, self.cross_rank)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a pair but those of the first layer: products count once."""
        inner = list(itertools.pairwise(self.bottom)) + list(
            itertools.pairwise((self.interaction, *self.top))
        )
        cross = 6 * self.interaction * self.cross_rank
        dots = 0 if self.cross_rank else self.width * self.features * (self.features - 1) // 2
        return sum(narrow * wide for narrow, wide in inner) + cross + dots


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Floats as bfloat16: float32's upper half, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)


def shape_from(facts: Mapping[str, Any]) -> Shape:
    """A shape from JSON values, as `dataclasses.asdict` gives them. Raises TypeError."""
    given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in facts.items()}
    return Shape(**given)


@dataclass(frozen=True)
class Stored:
    """How values are kept in 8 bits: value = number * scale."""

    scale: float
    signed: bool
