"""What follows the products of an LSTM's step, for AVX-512: gates, cell, state.

::

    i, f, g, o = 1 / (1 + 2 ** source)          the gates as exponents, float16
    cell = f * cell + i * (2 g - 1)             float32
    output = o * tanh(cell) * 127               int8

Of 16 units, a row of the source has i, f, g and o one behind the other. Powers of two are those of
attention; two quotients that are multiplied share one reciprocal, which has 14 bits.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from netrun.engines.amx.assembler import Label, Mem, Reg, Zmm
from netrun.engines.amx.routine import LANES, LINE, SHARE, Kernel, Routine, aligned
from netrun.engines.transformer.instructions import Vectors

LARGEST = 127.0
_LIMIT = 60.0
"""Exponents that are cut off here: the product of two powers stays a number."""
# 2 ** x from 0 to 1, from x^3 on; within 8e-5 of it.
_POWER = (0.07802389, 0.22606794, 0.6958333, 0.99992523)
_CONSTANTS = (*_POWER, 1.0, _LIMIT, -2.0 / math.log(2), LARGEST)
_CUBIC, _SQUARE, _LINEAR, _UNIT, _ONE, _MOST, _CELL, _SCALE = (Zmm(24 + i) for i in range(8))


@dataclass(frozen=True)
class Gates:
    """Gates of `units` units; strides are bytes from a row to the next."""

    units: int
    source_stride: int
    cell_stride: int
    output_stride: int

    @property
    def fits(self) -> bool:
        """Whether vectors suit its sizes."""
        return self.units % LANES == 0

    def make(self, threads: int, openmp: ctypes.CDLL) -> GatesKernel:
        """A kernel; raises OSError where there can be no such code."""
        return GatesKernel(self, threads, openmp)


class GatesKernel(Kernel):
    """`source` are exponents, `residual` the cells, which are written, too, `output` the states."""

    def __init__(self, layer: Gates, threads: int, openmp: ctypes.CDLL) -> None:
        self._layer, self._threads = layer, threads
        self._shares = np.zeros((threads, SHARE), np.uint64)
        self._strides = np.array(
            [layer.source_stride, layer.cell_stride, layer.output_stride], np.uint64
        )
        empty = aligned(LINE), aligned(LINE).view(np.float32)
        super().__init__(_routine(layer), self._shares, *empty, openmp, ())
        self._rows = 0

    def set_rows(self, rows: int) -> None:
        """How many rows calls from now on have."""
        if rows == self._rows:
            return
        self._rows = rows
        bounds = np.arange(self._threads + 1) * rows // self._threads
        self._shares[:, 0] = np.diff(bounds)
        self._shares[:, 1:] = bounds[:-1, None].astype(np.uint64) * self._strides


class GatesRoutine(Routine):
    """Registers: RBX rows left, RSI, R12, R13 source, cells, output of a row; R8 to R11 inside."""

    a: Vectors

    def __init__(self, layer: Gates) -> None:
        super().__init__(LINE)
        self.a = Vectors()
        self._layer = layer
        self._constants = self.pool.add(np.array(_CONSTANTS, np.float32))

    def work(self, end: Label) -> None:
        """All rows of the share."""
        a, layer = self.a, self._layer
        row, units = Label(), Label()
        a.mov(Reg.RBX, Mem(Reg.RAX, 0))
        a.cmp(Reg.RBX, 0)
        a.jump_if("je", end)
        for place, (register, name) in enumerate(
            ((Reg.RSI, "source"), (Reg.R12, "residual"), (Reg.R13, "output")), 1
        ):
            a.mov(register, Mem(Reg.RAX, 8 * place))
            a.add(register, self.argument(name))
        a.mov(Reg.RCX, self.argument("pool"))
        for index in range(len(_CONSTANTS)):
            a.broadcast(Zmm(24 + index), Mem(Reg.RCX, self._constants + 4 * index))
        a.bind(row)
        for inside, register in ((Reg.R8, Reg.RSI), (Reg.R9, Reg.R12), (Reg.R10, Reg.R13)):
            a.lea(inside, Mem(register, 0))
        a.mov(Reg.R11, layer.units // LANES)
        a.align(LINE // 2)
        a.bind(units)
        self._some_units()
        a.add(Reg.R8, 8 * LANES)
        a.add(Reg.R9, 4 * LANES)
        a.add(Reg.R10, LANES)
        a.sub(Reg.R11, 1)
        a.jump_if("jne", units)
        for register, stride in (
            (Reg.RSI, layer.source_stride),
            (Reg.R12, layer.cell_stride),
            (Reg.R13, layer.output_stride),
        ):
            a.add(register, stride)
        a.sub(Reg.RBX, 1)
        a.jump_if("jne", row)

    def _some_units(self) -> None:
        """16 units."""
        a = self.a
        i, f, g, o, cell, rest = (Zmm(index) for index in range(6))
        gates = [i, f, g, o]
        for index, gate in enumerate(gates):
            a.two("vcvtph2psx", gate, Mem(Reg.R8, 2 * LANES * index))
        self._powers(gates)
        a.three("vsubps", rest, _ONE, g)
        for gate in gates:
            a.vector("vaddps", gate, gate, _ONE)
        a.vector("vmulps", i, i, g)
        a.two("vrcp14ps", i, i)
        a.two("vrcp14ps", f, f)
        a.vector("vmulps", rest, rest, i)
        a.load(cell, Mem(Reg.R9))
        a.three("vfmadd213ps", cell, f, rest)
        a.store(Mem(Reg.R9), cell)
        a.vector("vmulps", cell, cell, _CELL)
        self._powers([cell])
        a.three("vsubps", rest, _ONE, cell)
        a.vector("vaddps", cell, cell, _ONE)
        a.vector("vmulps", cell, cell, o)
        a.two("vrcp14ps", cell, cell)
        a.vector("vmulps", rest, rest, _SCALE)
        a.vector("vmulps", rest, rest, cell)
        a.convert("vcvtps2dq", rest, rest)
        a.narrow("vpmovsdb", Mem(Reg.R10), rest)

    def _powers(self, values: list[Zmm]) -> None:
        """Powers of two of vectors, in place."""
        a = self.a
        fractions = [Zmm(8 + index) for index in range(len(values))]
        powers = [Zmm(16 + index) for index in range(len(values))]
        for value in values:
            a.vector("vminps", value, value, _MOST)
        for value, fraction, power in zip(values, fractions, powers, strict=True):
            a.fraction(fraction, value)
            a.copy(power, _CUBIC)
        for coefficient in (_SQUARE, _LINEAR, _UNIT):
            for fraction, power in zip(fractions, powers, strict=True):
                a.three("vfmadd213ps", power, fraction, coefficient)
        for value, power in zip(values, powers, strict=True):
            a.three("vscalefps", value, power, value)


@cache
def _routine(layer: Gates) -> GatesRoutine:
    return GatesRoutine(layer)
