"""Outputs of which only large values matter, such as a detector's millions of class scores.

Nearly all of them are far below the threshold that a detection has to pass. An engine may give such
an output as uint8 steps above the threshold instead of float32 values: a quarter of the memory
traffic, which is what bounds both the layer that writes them and whoever looks for the few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.task import Array, Field

STEPS = 255


@dataclass(frozen=True)
class Gated(Field):
    """An output whose values up to `above` do not matter, nor by how much they exceed `top`."""

    above: float = 0.0
    top: float = 1.0

    @property
    def step(self) -> float:
        """What one step of an output given as uint8 is worth."""
        return (self.top - self.above) / STEPS

    def candidates(self, given: Array) -> tuple[Array, Array]:
        """Flat places (int64, ascending) of the values above the threshold, and the values.

        `given` is a C-contiguous output of one sample: float32 values, or uint8 steps.
        """
        flat = given.reshape(-1)
        if flat.dtype == np.uint8:
            places = _nonzero(flat)
            return places, np.float32(self.above) + flat[places] * np.float32(self.step)
        places = _greater(flat, np.float32(self.above))
        return places, flat[places]


BLOCK = 1 << 16
"""Values that are compared at once: the result stays in the first-level cache."""


def _greater(flat: Array, threshold: np.float32) -> Array:
    found = []
    hits = np.empty(BLOCK, bool)
    for start in range(0, len(flat), BLOCK):
        part = flat[start : start + BLOCK]
        places = np.flatnonzero(np.greater(part, threshold, out=hits[: len(part)]))
        if len(places):
            found.append(places + start)
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _nonzero(flat: Array) -> Array:
    """Places of what is not 0 among uint8 values: most are, so that eight are tried at once."""
    whole = len(flat) // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    near = (words[:, None] * 8 + np.arange(8)).reshape(-1)
    rest = np.arange(whole, len(flat))
    places = np.concatenate([near, rest])
    result: Array = places[flat[places] != 0]
    return result
