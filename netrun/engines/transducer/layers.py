"""LSTM layers on AMX: input products of many steps at once, then step by step.

::

    inputs of some steps ─▶ product ─▶ exponents of gates      one large product, float16
    for each step:  state ─▶ product + exponents ─▶ gates ─▶ cell, next state

The states of a step are written where the next layer reads its inputs, and are read from there as
the next step's. A group of steps is as large as leaves its exponents in the caches.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.routine import LINE, aligned
from netrun.engines.laps import Laps
from netrun.engines.transducer.artifact import KERNELS, Arrays, product_of
from netrun.engines.transducer.gates import Gates, GatesKernel
from netrun.engines.transducer.rows import Rows
from netrun.engines.transformer.product import WIDTH, ProductKernel

GROUP = 512
"""Rows of a group of steps, about."""


class Buffer:
    """Rows of memory that grows, with room for a whole block behind the last one."""

    def __init__(self, row: int) -> None:
        self.stride = row + LINE  # a line more than it has, against cache conflicts
        self._memory = aligned(0)
        self._rows = 0

    def reserve(self, rows: int) -> None:
        """Have room for so many rows; what was there may be lost."""
        if rows > self._rows:
            self._rows = rows + rows // 4
            self._memory = aligned((self._rows + WIDTH) * self.stride)

    @property
    def address(self) -> int:
        """Of the first row."""
        return int(self._memory.ctypes.data)

    def rows(self, count: int) -> NDArray[np.uint8]:
        """The first rows, bytes [count, stride]."""
        return self._memory[: count * self.stride].reshape(count, self.stride)


class Rowwise:
    """A product of an artifact on any number of rows."""

    def __init__(
        self,
        arrays: Arrays,
        name: str,
        kind: str,
        strides: tuple[int, int],
        threads: int,
        lib: ctypes.CDLL,
    ) -> None:
        """`strides` are the bytes between rows of source and output. Raises OSError."""
        out, self.inside = arrays[f"{name}.shape"].tolist()
        layer = product_of(self.inside, out, kind, *strides)
        weights, factors = arrays[f"{name}.weight"], arrays[f"{name}.factors"]
        self._kernel: ProductKernel = layer.make(GROUP, threads, weights, factors, lib)
        self._source_stride, self._output_stride = strides

    def run(self, rows: int, source: int, output: int, residual: int = 0) -> None:
        """Multiply rows at `source`; `residual` is what a product of that kind adds."""
        kernel = self._kernel
        arguments = kernel.arguments
        for start in range(0, rows, GROUP):
            kernel.set_tokens(min(GROUP, rows - start))
            arguments.source = source + start * self._source_stride
            arguments.output = output + start * self._output_stride
            arguments.residual = residual + start * self._output_stride
            kernel.call()


@dataclass(frozen=True)
class Place:
    """Where a layer's states go: a row every `stride` bytes."""

    address: int
    rows: Rows
    stacked: int = 1
    width: int = 0
    """Bytes from a step to the next one of the same row, where steps are stacked."""
    into: Rows | None = None

    def of_step(self, step: int, stride: int) -> int:
        """The address of a step's first state."""
        if self.into is None:
            return self.address + int(self.rows.starts[step]) * stride
        row = int(self.into.starts[step // self.stacked])
        return self.address + row * stride + step % self.stacked * self.width


class Layer:
    """A layer's kernels. Its exponents, cells and gates go through `Scratch`."""

    def __init__(
        self,
        arrays: Arrays,
        number: int,
        strides: tuple[int, int],
        scratch: Scratch,
        each: Laps,
        threads: int,
        lib: ctypes.CDLL,
    ) -> None:
        """`strides` are the bytes between rows of its inputs and of its states; `each` calls."""
        self._each = each
        self._names = tuple(f"{number}.{kind}" for kind in KERNELS)
        self._source_stride, self._state_stride = strides
        self._scratch = scratch
        gates = scratch.exponents.stride
        name, into = f"{number}.input", (self._source_stride, gates)
        self._input: Rowwise | None = None
        if f"{name}.weight" in arrays:
            self._input = Rowwise(arrays, name, "half", into, threads, lib)
        back = (self._state_stride, gates)
        self._state = Rowwise(arrays, f"{number}.state", "residual", back, threads, lib)
        units = self._state.inside
        layer = Gates(units, gates, 4 * units, self._state_stride)
        self._gates: GatesKernel = layer.make(threads, lib)

    def run(self, rows: Rows, source: int, place: Place) -> None:
        """Take all steps, from inputs at `source`."""
        scratch = self._scratch
        exponents, gates, cells = scratch.exponents, scratch.gates, scratch.cells
        most = int(rows.counts[0])
        cells.reserve(most)
        gates.reserve(most)
        cell = cells.ready(most)
        starts, counts = rows.starts.tolist(), rows.counts.tolist()
        first, steps = 0, len(counts)
        while first < steps:
            last = first + 1
            while last < steps and starts[last] + counts[last] - starts[first] <= GROUP:
                last += 1
            total = starts[last - 1] + counts[last - 1] - starts[first]
            exponents.reserve(max(total, GROUP))
            self.inputs(source + starts[first] * self._source_stride, total)
            for step in range(first, last):
                given = exponents.address + (starts[step] - starts[first]) * exponents.stride
                state = place.of_step(step - 1, self._state_stride) if step else None
                output = place.of_step(step, self._state_stride)
                self.step(counts[step], given, state, cell, output)
            first = last

    def inputs(self, source: int, total: int) -> None:
        """Products of rows of inputs, to the exponents."""
        assert self._input is not None
        self._each(self._names[0], self._input.run, total, source, self._scratch.exponents.address)

    def step(self, count: int, given: int, state: int | None, cell: int, output: int) -> None:
        """One step: exponents at `given`, states before, cells, and where states go."""
        gates = self._gates
        if state is not None:
            output_of = self._scratch.gates.address
            self._each(self._names[1], self._state.run, count, state, output_of, given)
            given = output_of
        arguments = gates.arguments
        arguments.source, arguments.residual, arguments.output = given, cell, output
        gates.set_rows(count)
        self._each(self._names[2], gates.call)


class Cells:
    """Cells of utterances, float32."""

    def __init__(self, units: int) -> None:
        self._units = units
        self._memory = aligned(0).view(np.float32)

    def reserve(self, rows: int) -> None:
        """Have room for so many."""
        if rows * self._units > len(self._memory):
            self._memory = aligned(4 * rows * self._units).view(np.float32)

    def ready(self, rows: int) -> int:
        """The address of cells that are 0."""
        self.rows(rows)[:] = 0
        return int(self._memory.ctypes.data)

    def rows(self, count: int) -> NDArray[np.float32]:
        """The first cells [count, units]."""
        return self._memory[: count * self._units].reshape(count, self._units)


class Scratch:
    """Memory that layers of the same width share."""

    def __init__(self, units: int) -> None:
        self.exponents, self.gates = Buffer(8 * units), Buffer(8 * units)
        self.cells = Cells(units)
