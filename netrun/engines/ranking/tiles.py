"""Which kernels for AMX a ranking network has, and what runs them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranking import Shape, Stored
from netrun.engines.ranking import crossed, dots
from netrun.engines.ranking.executor import Executor
from netrun.engines.ranking.layers import Arrays, Layers


@dataclass(frozen=True)
class Kernels:
    """The kernels of a network."""

    shape: Shape

    @property
    def fits(self) -> bool:
        """Whether there are some for its sizes."""
        return crossed.fits(self.shape) if self.shape.cross_rank else dots.fits(self.shape)

    def make(
        self,
        arrays: Arrays,
        stored: Mapping[str, Stored],
        tables: NDArray[np.int8],
        scales: NDArray[np.float32],
        threads: int,
        openmp: ctypes.CDLL,
    ) -> Executor:
        """What runs a network from its arrays and mapped tables; raises OSError as kernels do."""
        made = crossed.CrossExecutor if self.shape.cross_rank else dots.DotsExecutor
        layers = Layers(arrays, stored, made.chunk, threads, openmp)
        return made(self.shape, layers, tables, scales)
