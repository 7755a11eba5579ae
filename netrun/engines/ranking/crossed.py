"""Runs an int8 ranking network of v2 with kernels for AMX.

::

    dense ─▶ bottom layers ─▶ x0, first part ─┐
    numbers of rows ──▶ sums of rows ─────────┴▶ x0, x     bfloat16

    x ─▶ narrow ─▶ int8 ─▶ wide, and x += x0 * what it gives      three times
    x ─▶ top layers ─▶ what the last one reads

The narrow layers read every value of x for each 32 outputs: x has to fit the second-level cache,
beside weights that stream through it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ranking import Shape, bfloat16
from netrun.engines.amx.routine import LINE
from netrun.engines.ranking.executor import Executor
from netrun.engines.ranking.layers import Layers, buffer, chains_fit, row_bytes
from netrun.engines.ranking.pooled import AHEAD, Pooled

POOLED = "pooled"


def pooled(shape: Shape) -> Pooled:
    """The tables of a network."""
    return Pooled(shape.hot, shape.width, row_bytes(2 * shape.interaction))


def fits(shape: Shape) -> bool:
    """Whether there are kernels for a network with cross layers."""
    return shape.cross_rank % LINE == 0 and chains_fit(shape) and pooled(shape).fits


class CrossExecutor(Executor):
    """A network with cross layers, and its tables, mapped."""

    chunk = 192
    """x takes 1.3 MB of 2 MB of cache."""

    def __init__(
        self,
        shape: Shape,
        layers: Layers,
        tables: NDArray[np.int8],
        scales: NDArray[np.float32],
    ) -> None:
        """Make all kernels; raises OSError where memory cannot be made executable."""
        super().__init__(shape, layers)
        bottom, cross = layers.names("bot_l"), layers.names("cross")
        *top, last = layers.names("top_l")
        self._dense = buffer(self.chunk, row_bytes(2 * layers.width_of(bottom[0])))
        tabled = pooled(shape)
        first, x = (buffer(self.chunk, tabled.output_stride) for _ in range(2))
        self._bottom = layers.chain(bottom, None, self._dense, first)
        self._numbers = np.zeros((self.chunk + AHEAD, shape.lookups), np.int32)
        self._pooled = tabled.make(tables, shape.firsts, scales, layers.threads, layers.openmp)
        arguments = self._pooled.arguments
        arguments.source, arguments.output = self._numbers.ctypes.data, first.ctypes.data
        arguments.residual = x.ctypes.data
        between = buffer(self.chunk, row_bytes(shape.cross_rank))
        self._rest = {}
        for narrow, wide in zip(cross[::2], cross[1::2], strict=True):
            self._rest[narrow] = layers.layer(narrow, "int8", layers.stored[wide], x, between)
            self._rest[wide] = layers.layer(wide, "cross", None, between, x)
            self._rest[wide].arguments.residual = first.ctypes.data
        self._rest |= layers.chain(top, layers.stored[last], x, self._hidden)
        layers.kept += [first, x, between]

    def _layers(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> None:
        count, width = dense.shape
        self._dense.view(np.uint16)[:count, :width] = bfloat16(dense)
        self._products(self._bottom, count)
        self.look_up(sparse)
        self._products(self._rest, count)

    def look_up(self, sparse: NDArray[np.int32]) -> None:
        """Sum up rows, and put them behind what the bottom network gave."""
        self._numbers[: len(sparse)] = sparse
        self._pooled.set_pairs(len(sparse))
        self._each(POOLED, self._pooled.call)
