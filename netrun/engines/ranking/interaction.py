"""Rows of tables, and what all pairs of them have in common, for AMX: gathered and multiplied.

Of each pair (a user and an item) the bottom network's output x and one row of each table make up a
matrix of 27 rows of int8. Its product with itself, below the diagonal, goes behind x, as int8::

    rows ──gather──▶ T [32, width] ──▶ A 0, A 1         C 00 = A 0 x B 0
                     T transposed  ──▶ B 0, B 1         C 10 = A 1 x B 0    C 11 = A 1 x B 1

    x | (1,0) (2,0) (2,1) (3,0) ...     by row; a row's 16 bytes are stored whole, and the next one
                                        lies over what is too much of them

Rows are fetched some pairs ahead: they come from tables that no cache holds. What follows the
products of a pair is computed after the next one's rows have been laid out, which hides how long
tiles take.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Label, Mem, Reg, Tmm, Zmm
from netrun.engines.amx.routine import (
    LANES,
    LINE,
    ROWS,
    TILE,
    Routine,
    aligned,
    configuration,
)
from netrun.engines.ranking.lookups import LookupKernel
from netrun.engines.transformer.instructions import Vectors

AHEAD = 3
"""Pairs whose rows are being fetched: their numbers must be readable."""
_HEIGHT = 2 * ROWS


@dataclass(frozen=True)
class Interaction:
    """A network's interaction: `features` vectors of `width`, one of them x."""

    features: int
    width: int
    output_stride: int
    """Bytes from a pair's output to the next."""

    @property
    def fits(self) -> bool:
        """Whether tiles suit its sizes."""
        return ROWS < self.features <= _HEIGHT and self.width in (LINE, 2 * LINE)

    @property
    def dots(self) -> int:
        """Products of a pair."""
        return self.features * (self.features - 1) // 2

    @property
    def written(self) -> int:
        """Bytes of an output that are written: products, and up to a vector more."""
        return self.width + self.dots + LANES

    def pack_factors(self, factors: NDArray[np.float32]) -> NDArray[np.float32]:
        """What products are multiplied with, of [features, features], as the kernel reads them."""
        vectors = []
        for row in range(1, self.features):
            for begin in range(0, row, LANES):
                part = np.zeros(LANES, np.float32)
                part[: min(LANES, row - begin)] = factors[row, begin : min(begin + LANES, row)]
                vectors.append(part)
        packed = aligned(len(vectors) * LINE).view(np.float32)
        packed[:] = np.concatenate(vectors)
        return packed

    def make(
        self,
        tables: NDArray[np.int8],
        firsts: NDArray[np.int64],
        threads: int,
        factors: NDArray[np.float32],
        openmp: ctypes.CDLL,
    ) -> LookupKernel:
        """A kernel for these tables, of which each begins at a row; raises OSError as kernels do.

        `arguments.source` are row numbers int32 [pairs, features - 1] within the tables, which must
        be right, and readable for AHEAD more pairs; `arguments.output` holds x already.
        """
        return LookupKernel(_routine(self), tables, firsts, threads, factors, openmp)


class InteractionRoutine(Routine):
    """Registers: R12 numbers of the pair's rows, R9 of those that are fetched, R13 its output.

    R8 is the output of the pair before, RBX where tables begin, R10 factors, R15 pairs left, RSI
    the distance of T's rows. Scratch memory: T, B, then sums.
    """

    a: Vectors

    def __init__(self, layer: Interaction) -> None:
        self._layer = layer
        self._steps = layer.width // LINE
        self._turned = _HEIGHT * layer.width
        self._sums = self._turned + 2 * self._steps * TILE
        super().__init__(self._sums + 3 * TILE)
        self.a = Vectors()
        self._config = self.pool.add(configuration([(ROWS, LINE)] * 8))
        self._zeros = self.pool.add(np.zeros(LINE, np.uint8))

    def work(self, end: Label) -> None:
        """All pairs of the share."""
        a, layer = self.a, self._layer
        ahead, loop, ready = Label(), Label(), Label()
        numbers = 4 * (layer.features - 1)
        a.mov(Reg.R15, Mem(Reg.RAX, 8))
        a.cmp(Reg.R15, 0)
        a.jump_if("je", end)
        a.mov(Reg.RCX, Mem(Reg.RAX, 0))
        a.multiply(Reg.R12, Reg.RCX, numbers)
        a.multiply(Reg.R13, Reg.RCX, layer.output_stride)
        a.add(Reg.R12, self.argument("source"))
        a.add(Reg.R13, self.argument("output"))
        a.mov(Reg.RBX, self.argument("weights"))
        a.mov(Reg.R10, self.argument("factors"))
        a.mov(Reg.RCX, self.argument("pool"))
        a.ldtilecfg(Mem(Reg.RCX, self._config))
        a.mov(Reg.RSI, layer.width)
        a.load(Zmm(0), Mem(Reg.RCX, self._zeros))
        for place in range(layer.features * layer.width, _HEIGHT * layer.width, LINE):
            a.store(Mem(Reg.RSP, place), Zmm(0))
        a.mov(Reg.R9, Reg.R12)
        a.mov(Reg.R11, AHEAD)
        a.bind(ahead)
        self._fetch()
        a.add(Reg.R9, numbers)
        a.sub(Reg.R11, 1)
        a.jump_if("jne", ahead)
        self._lay_out()
        a.jmp(ready)
        a.align(LINE)
        a.bind(loop)
        self._lay_out()
        self._store()
        a.bind(ready)
        self._multiply()
        a.mov(Reg.R8, Reg.R13)
        a.add(Reg.R13, layer.output_stride)
        a.add(Reg.R12, numbers)
        a.add(Reg.R9, numbers)
        a.sub(Reg.R15, 1)
        a.jump_if("jne", loop)
        self._store()

    def _place(self, table: int, numbers: Reg, target: Reg) -> None:
        """The address of a table's row."""
        a = self.a
        a.load_signed(target, Mem(numbers, 4 * table))
        a.shl(target, self._layer.width.bit_length() - 1)
        a.add(target, Mem(Reg.RBX, 8 * table))

    def _fetch(self) -> None:
        """Have the rows of the pair at R9 fetched."""
        for table in range(self._layer.features - 1):
            self._place(table, Reg.R9, Reg.RCX)
            for line in range(self._steps):
                self.a.prefetch(Mem(Reg.RCX, line * LINE))

    def _lay_out(self) -> None:
        """T and B of this pair, while rows of a later one are fetched."""
        a, layer = self.a, self._layer
        for line in range(self._steps):
            a.load(Zmm(line), Mem(Reg.R13, line * LINE))
            a.store(Mem(Reg.RSP, line * LINE), Zmm(line))
        for table in range(layer.features - 1):
            self._place(table, Reg.R12, Reg.RCX)
            self._place(table, Reg.R9, Reg.RAX)
            for line in range(self._steps):
                vector = Zmm((2 * table + line) % 32)
                a.load(vector, Mem(Reg.RCX, line * LINE))
                a.store(Mem(Reg.RSP, (1 + table) * layer.width + line * LINE), vector)
                a.prefetch(Mem(Reg.RAX, line * LINE))
        for half in range(2):
            for step in range(self._steps):
                for row in range(ROWS):
                    place = (half * ROWS + row) * layer.width + step * LINE
                    a.load(Zmm(row), Mem(Reg.RSP, place))
                for row, turned in enumerate(a.transpose()):
                    a.store(Mem(Reg.RSP, self._b(half, step) + row * LINE), turned)

    def _b(self, half: int, step: int) -> int:
        return self._turned + (half * self._steps + step) * TILE

    def _multiply(self) -> None:
        """The sums of this pair."""
        a, layer = self.a, self._layer
        for tile in range(3):
            a.tilezero(Tmm(tile))
        for step in range(self._steps):
            upper, lower, left, right = Tmm(4), Tmm(5), Tmm(6), Tmm(7)
            a.lea(Reg.RCX, Mem(Reg.RSP, step * LINE))
            a.tileloadd(upper, Mem(Reg.RCX, 0, Reg.RSI))
            a.tileloadd(lower, Mem(Reg.RCX, ROWS * layer.width, Reg.RSI))
            a.lea(Reg.RCX, Mem(Reg.RSP, 0))
            a.tileloadd(left, Mem(Reg.RCX, self._b(0, step), Reg.RDX))
            a.tileloadd(right, Mem(Reg.RCX, self._b(1, step), Reg.RDX))
            a.tile_product("tdpbssd", Tmm(0), upper, left)
            a.tile_product("tdpbssd", Tmm(1), lower, left)
            a.tile_product("tdpbssd", Tmm(2), lower, right)
        for tile in range(3):
            a.tilestored(Mem(Reg.RCX, self._sums + tile * TILE, Reg.RDX), Tmm(tile))

    def _store(self) -> None:
        """What the sums of the pair before become, row by row."""
        a, layer, vector = self.a, self._layer, 0
        for row in range(1, layer.features):
            for begin in range(0, row, LANES):
                tile = 0 if row < ROWS else 1 + begin // LANES
                value = Zmm(vector % 32)
                sums = self._sums + tile * TILE + row % ROWS * LINE
                a.convert("vcvtdq2ps", value, Mem(Reg.RSP, sums))
                a.vector("vmulps", value, value, Mem(Reg.R10, vector * LINE))
                a.convert("vcvtps2dq", value, value)
                place = layer.width + row * (row - 1) // 2 + begin
                a.narrow("vpmovsdb", Mem(Reg.R8, place), value)
                vector += 1


@cache
def _routine(layer: Interaction) -> InteractionRoutine:
    return InteractionRoutine(layer)
