"""What kernels that look up rows of tables have in common."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.routine import LINE, SHARE, Kernel, Routine, aligned


class LookupKernel(Kernel):
    """A kernel of some pairs, whose weights are the addresses at which tables begin.

    Each table begins at a row of `tables`. Raises OSError as kernels do.
    """

    def __init__(
        self,
        routine: Routine,
        tables: NDArray[np.int8],
        firsts: NDArray[np.int64],
        threads: int,
        factors: NDArray[np.float32],
        openmp: ctypes.CDLL,
    ) -> None:
        self._shares = np.zeros((threads, SHARE), np.uint64)
        places = aligned(-(-8 * len(firsts) // LINE) * LINE)
        places.view(np.int64)[: len(firsts)] = tables.ctypes.data + firsts * tables.strides[0]
        super().__init__(routine, self._shares, places, factors, openmp, (tables,))

    def set_pairs(self, pairs: int) -> None:
        """How many pairs calls from now on have."""
        threads = len(self._shares)
        bounds = [pairs * thread // threads for thread in range(threads + 1)]
        self._shares[:, 0], self._shares[:, 1] = bounds[:-1], np.diff(bounds)
