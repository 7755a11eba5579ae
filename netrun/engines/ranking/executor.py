"""Runs an int8 ranking network with kernels for AMX: some hundred pairs at a time.

What a layer writes is still in the second-level cache when the next one reads it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.ranking import Shape
from netrun.engines.laps import Laps
from netrun.engines.ranking.layers import Layers, buffer, row_bytes
from netrun.engines.transformer.product import ProductKernel


class Executor(ABC):
    """A network's layers; what pairs go through before the last one is a subclass's.

    For one caller at a time.
    """

    chunk: int
    """Pairs that go through all layers together."""

    def __init__(self, shape: Shape, layers: Layers) -> None:
        """Take the last layer, which reads 8 bits and computes in float32."""
        self.shape = shape
        self._kept = layers.kept
        self._each = Laps()
        last = layers.names("top_l")[-1]
        weight = layers.arrays[f"{last}.weight"][0]
        self._hidden = buffer(self.chunk, row_bytes(len(weight)))[:, : len(weight)]
        self._last = (weight * layers.stored[last].scale).astype(np.float32)
        self._shift = np.float32(layers.arrays[f"{last}.bias"][0])

    @abstractmethod
    def look_up(self, sparse: NDArray[np.int32]) -> None:
        """Run the kernel that reads the tables, on at most a chunk of pairs."""

    @abstractmethod
    def _layers(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> None:
        """Take some pairs, at most a chunk, as far as `_hidden`."""

    def run(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits float32 [n] of pairs."""
        logits = np.empty(len(dense), np.float32)
        parts = -(-len(dense) // self.chunk)
        for part in range(parts):
            here = slice(len(dense) * part // parts, len(dense) * (part + 1) // parts)
            self._layers(dense[here], sparse[here])
            hidden = self._hidden[: here.stop - here.start].astype(np.float32)
            np.matmul(hidden, self._last, out=logits[here])
        logits += self._shift
        return logits

    def profile(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> dict[str, int]:
        """Nanoseconds of each kernel, all its calls together, while `run` answers the same."""
        with self._each.measured() as spent:
            self.run(dense, sparse)
        return spent

    def _products(self, kernels: Mapping[str, ProductKernel], pairs: int) -> None:
        for name, kernel in kernels.items():
            kernel.set_tokens(pairs)
            self._each(name, kernel.call)
