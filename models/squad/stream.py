"""What the network is given: the tokens of all sequences of a batch, without padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.task import Array


def stream(ids: Sequence[Array], seconds: Sequence[int]) -> dict[str, Array]:
    """Sequences as the network takes them: their tokens one behind the other, without padding.

    `ids` are the word pieces of each, `seconds` where its second segment begins.
    """
    lengths = np.array([len(one) for one in ids])
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    positions = np.arange(len(starts)) - starts
    types = positions >= np.repeat(seconds, lengths)
    return {
        "input_ids": np.concatenate(ids),
        "positions": positions.astype(np.int32),
        "types": types.astype(np.int32),
    }
