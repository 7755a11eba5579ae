"""Rows of multi-hot tables, gathered and summed up into bfloat16, in AVX-512.

Of each pair a table has some rows of int8, whose sum, times the table's scale, is an embedding.
Sums of 16 bits hold them whole. Embeddings go behind the bottom network's output, which is there
already, and all of it is written a second time: cross layers change one and read the other::

    numbers ──▶ rows ──+──▶ sums ──▶ * scale ──▶ bfloat16 ──▶ output, copy
    output, its first `width` ────────────────────────────▶ copy

While rows of a pair are summed up, those of the next one are being fetched into the second-level
cache: they come from tables that no cache holds, and 27 KB of them leave little of the first.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Label, Mem, Reg, Zmm
from netrun.engines.amx.routine import LANES, LINE, Routine, aligned
from netrun.engines.ranking.lookups import LookupKernel
from netrun.engines.transformer.instructions import Vectors

AHEAD = 1
"""Pairs whose rows are being fetched: their numbers must be readable."""
_HALF = 2 * LANES
"""Numbers of 16 bits in a vector."""
_LARGEST = 32767


@dataclass(frozen=True)
class Pooled:
    """The tables of a network: how many rows each sums up, and how wide they are."""

    hot: tuple[int, ...]
    width: int
    output_stride: int
    """Bytes from a pair's output to the next, and from its copy."""

    @property
    def fits(self) -> bool:
        """Whether vectors suit its sizes."""
        return self.width in (LINE, 2 * LINE) and max(self.hot) * 128 <= _LARGEST

    def make(
        self,
        tables: NDArray[np.int8],
        firsts: NDArray[np.int64],
        scales: NDArray[np.float32],
        threads: int,
        openmp: ctypes.CDLL,
    ) -> LookupKernel:
        """A kernel for these tables, of which each begins at a row; raises OSError as kernels do.

        `arguments.source` are row numbers int32 [pairs, lookups] within the tables, which must be
        right, and readable for AHEAD more pairs; `arguments.output` holds the bottom network's
        output already; `arguments.residual` is the copy.
        """
        factors = aligned(-(-4 * len(scales) // LINE) * LINE).view(np.float32)
        factors[: len(scales)] = scales
        return LookupKernel(_routine(self), tables, firsts, threads, factors, openmp)


class PooledRoutine(Routine):
    """Registers: R12 numbers of the pair's rows, R13 its output, R14 its copy, R15 pairs left.

    RBX is where the addresses of tables are, R10 their scales. Scratch memory: sums of a table.
    """

    a: Vectors

    def __init__(self, layer: Pooled) -> None:
        self._layer = layer
        self._vectors = layer.width // _HALF
        super().__init__(self._vectors * LINE)
        self.a = Vectors()

    def work(self, end: Label) -> None:
        """All pairs of the share."""
        a, layer, loop = self.a, self._layer, Label()
        numbers = 4 * sum(layer.hot)
        a.mov(Reg.R15, Mem(Reg.RAX, 8))
        a.cmp(Reg.R15, 0)
        a.jump_if("je", end)
        a.mov(Reg.RCX, Mem(Reg.RAX, 0))
        a.multiply(Reg.R12, Reg.RCX, numbers)
        a.multiply(Reg.R13, Reg.RCX, layer.output_stride)
        a.mov(Reg.R14, Reg.R13)
        a.add(Reg.R12, self.argument("source"))
        a.add(Reg.R13, self.argument("output"))
        a.add(Reg.R14, self.argument("residual"))
        a.mov(Reg.RBX, self.argument("weights"))
        a.mov(Reg.R10, self.argument("factors"))
        a.align(LINE)
        a.bind(loop)
        for line in range(self._vectors):
            a.load(Zmm(line), Mem(Reg.R13, line * LINE))
            a.store(Mem(Reg.R14, line * LINE), Zmm(line))
        first = 0
        for table, hot in enumerate(layer.hot):
            a.mov(Reg.RAX, Mem(Reg.RBX, 8 * table))
            self._sum(table, range(first, first + hot))
            self._write(table)
            first += hot
        a.add(Reg.R12, numbers)
        a.add(Reg.R13, layer.output_stride)
        a.add(Reg.R14, layer.output_stride)
        a.sub(Reg.R15, 1)
        a.jump_if("jne", loop)

    def _row(self, number: int, target: Reg) -> None:
        """Where a row is, from its table in RAX."""
        a = self.a
        a.load_signed(target, Mem(Reg.R12, 4 * number))
        a.shl(target, self._layer.width.bit_length() - 1)

    def _sum(self, table: int, numbers: range) -> None:
        """Sums of a table's rows, while those of a later pair are fetched."""
        a = self.a
        for number in numbers:
            self._row(number, Reg.RCX)
            self._row(number + AHEAD * sum(self._layer.hot), Reg.R9)
            for line in range(self._layer.width // LINE):
                a.prefetch_far(Mem(Reg.RAX, line * LINE, Reg.R9))
            for part in range(self._vectors):
                row = Mem(Reg.RAX, part * _HALF, Reg.RCX)
                if number == numbers[0]:
                    a.two("vpmovsxbw", self._total(table, part), row)
                else:
                    value = Zmm(16 + (number * self._vectors + part) % 16)
                    a.two("vpmovsxbw", value, row)
                    a.three("vpaddw", self._total(table, part), self._total(table, part), value)

    def _total(self, table: int, part: int) -> Zmm:
        return Zmm(table % 2 * self._vectors + part)

    def _write(self, table: int) -> None:
        """The sums of a table, as bfloat16."""
        a, scale = self.a, Zmm(15)
        a.broadcast(scale, Mem(Reg.R10, 4 * table))
        for part in range(self._vectors):
            a.store(Mem(Reg.RSP, part * LINE), self._total(table, part))
        for part in range(self._vectors):
            low, high = Zmm(16 + 2 * part), Zmm(17 + 2 * part)
            for half, value in enumerate((low, high)):
                a.two("vpmovsxwd", value, Mem(Reg.RSP, part * LINE + half * LINE // 2))
                a.convert("vcvtdq2ps", value, value)
                a.vector("vmulps", value, value, scale)
            a.three("vcvtne2ps2bf16", low, high, low)
            place = 2 * self._layer.width * (1 + table) + part * LINE
            a.store(Mem(Reg.R13, place), low)
            a.store(Mem(Reg.R14, place), low)


@cache
def _routine(layer: Pooled) -> PooledRoutine:
    return PooledRoutine(layer)
