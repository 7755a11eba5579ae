"""Where the frames of utterances lie: by step, and within a step by falling length.

Of every step only the utterances that have it are there. Nothing is filled up, and the state of a
step is what the next one multiplies, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Frames of utterances whose `lengths` fall."""

    lengths: Integers
    counts: Integers
    """Utterances of each step."""
    starts: Integers
    """Its first row."""

    @classmethod
    def of(cls, lengths: Integers) -> Rows:
        """The rows of utterances of falling lengths, of a frame at least."""
        steps = int(lengths[0])
        counts = len(lengths) - np.searchsorted(lengths[::-1], np.arange(steps), side="right")
        return cls(lengths, counts, np.cumsum(counts) - counts)

    @property
    def total(self) -> int:
        """All rows."""
        return int(self.counts.sum())

    def of_utterance(self, rank: int) -> Integers:
        """The rows of one utterance, in the order of its steps."""
        found: Integers = self.starts[: self.lengths[rank]] + rank
        return found
