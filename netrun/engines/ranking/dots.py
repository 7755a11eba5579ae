"""Runs an int8 ranking network of v1 with kernels for AMX.

::

    dense ─▶ bottom layers ─▶ x ─┐
    numbers of rows ─────────────┴▶ interaction ─▶ top layers ─▶ what the last one reads
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ranking import SIGNED, UNSIGNED, Shape, Stored
from netrun.engines.amx.routine import LINE
from netrun.engines.ranking.executor import Executor
from netrun.engines.ranking.interaction import AHEAD, Interaction
from netrun.engines.ranking.layers import Layers, buffer, chains_fit, row_bytes

INTERACTION = "interaction"


def interaction(shape: Shape) -> Interaction:
    """Gather and products of a network."""
    return Interaction(shape.features, shape.width, row_bytes(shape.interaction + LINE // 4))


def fits(shape: Shape) -> bool:
    """Whether there are kernels for a network with dot products."""
    return max(shape.hot) == 1 and chains_fit(shape) and interaction(shape).fits


class DotsExecutor(Executor):
    """A network with dot products, and its tables, mapped."""

    chunk = 512

    def __init__(
        self,
        shape: Shape,
        layers: Layers,
        tables: NDArray[np.int8],
        scales: NDArray[np.float32],
    ) -> None:
        """Make all kernels; raises OSError where memory cannot be made executable."""
        super().__init__(shape, layers)
        bottom = layers.names("bot_l")
        *top, last = layers.names("top_l")
        narrow, stored = layers.width_of(bottom[0]), layers.stored
        self._dense = buffer(self.chunk, row_bytes(narrow))
        self._how = stored[bottom[0]]
        self._scaled = np.empty((self.chunk, narrow), np.float32)
        layer = interaction(shape)
        mixed = buffer(self.chunk, layer.output_stride)
        self._bottom = layers.chain(bottom, stored["x"], self._dense, mixed)
        self._numbers = np.zeros((self.chunk + AHEAD, len(shape.rows)), np.int32)
        each = np.append(np.float32(stored["x"].scale), scales).astype(np.float32)
        factors = np.outer(each, each) / np.float32(stored["dots"].scale)
        self._interaction = layer.make(
            *(tables, shape.firsts, layers.threads), layer.pack_factors(factors), layers.openmp
        )
        self._interaction.arguments.source = self._numbers.ctypes.data
        self._interaction.arguments.output = mixed.ctypes.data
        self._top = layers.chain(top, stored[last], mixed, self._hidden)
        layers.kept.append(mixed)

    def _layers(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> None:
        count = len(dense)
        scaled = np.multiply(dense, np.float32(1 / self._how.scale), out=self._scaled[:count])
        np.rint(scaled, out=scaled)
        np.clip(scaled, *_range(self._how), out=scaled)
        stored = self._dense.view(np.int8) if self._how.signed else self._dense
        stored[:count, : dense.shape[1]] = scaled
        self._products(self._bottom, count)
        self.look_up(sparse)
        self._products(self._top, count)

    def look_up(self, sparse: NDArray[np.int32]) -> None:
        """Gather rows, multiply them with one another and with what the bottom network gave."""
        self._numbers[: len(sparse)] = sparse
        self._interaction.set_pairs(len(sparse))
        self._each(INTERACTION, self._interaction.call)


def _range(how: Stored) -> tuple[int, int]:
    return (-SIGNED, SIGNED) if how.signed else (0, UNSIGNED)
