"""Streams of tokens: the sequences of a batch one behind the other, without padding."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


class Stream:
    """Tokens of all sequences, one behind the other."""

    def __init__(self, positions: Tensor, types: Tensor) -> None:
        """Of each token, its place in its sequence, which begins at 0, and its segment."""
        self.positions, self.types = positions, types
        self.runs: list[tuple[int, int, int]] = []
        """(first token, sequences, tokens of each) of neighbours of equal length."""
        starts = torch.nonzero(positions == 0).flatten().tolist()
        for start, end in pairwise([*starts, len(positions)]):
            if self.runs and self.runs[-1][2] == end - start:
                first, count, size = self.runs[-1]
                self.runs[-1] = (first, count + 1, size)
            else:
                self.runs.append((start, 1, end - start))
