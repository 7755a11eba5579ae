"""What is measured of many passes over a network, whatever its form."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netrun.roofline.measurement import Layer

Work = tuple[str, int, int, int, int]
"""Of a kernel: name, values in and out of a row, multiply-accumulates, bytes moved at least."""
KERNEL = "AMX, our own"


class KernelPasses(ABC):
    """Times of passes: of each kernel, and of whole runs (`measurement.Measured`, but for layers).

    `run` computes what a pass is given, `profile` does so kernel by kernel and returns the
    nanoseconds of each, by name or in order.
    """

    def __init__(self, run: Callable[..., Any], profile: Callable[..., Any]) -> None:
        self._run, self._profile = run, profile
        self._steps: list[Any] = []
        self._wholes: list[int] = []

    @abstractmethod
    def given(self) -> Sequence[Any]:
        """What the next pass is given."""

    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""

    def warm(self) -> None:
        """One pass that does not count: other work has been through the caches."""
        self._run(*self.given())

    def measure(self) -> None:
        """One pass as a whole and one kernel by kernel."""
        given = self.given()
        began = time.perf_counter_ns()
        self._run(*given)
        self._wholes.append(time.perf_counter_ns() - began)
        self._steps.append(self._profile(*self.given()))

    def __len__(self) -> int:
        return len(self._wholes)

    def whole_ns(self) -> float:
        """The median of whole passes."""
        return float(np.median(self._wholes))

    def seconds(self, step: Any) -> float:
        """The median of a kernel, by its name or number."""
        return max(float(np.median([steps[step] for steps in self._steps])), 1.0) / 1e9

    def layer(self, work: Work, rows: int, kernel: str = KERNEL) -> Layer:
        """A kernel that takes each of some rows by itself, with its median time."""
        name, source, output, macs, moved = work
        shapes = (rows, source), (rows, output)
        return Layer(name, *shapes, kernel, macs, moved, self.seconds(name))
