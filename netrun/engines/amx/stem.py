"""A ResNet's stem in one pass: 7x7 convolution of stride 2 on 3 channels, ReLU, 3x3 max pooling.

Scaling, rounding and ReLU keep the order of numbers, so the maximum is taken first, of the sums:
three quarters of what follows a product, and the tensor between the two layers, are never made.

A window has 7 rows of 21 bytes, and products have steps of up to 64 bytes. So rows of pixels are
first laid together in pairs, which makes the window 4 runs of 42 bytes (and 2 more of weight 0)::

    row 2p     r g b | r g b | r g b | ...               pair p, 6 bytes a pixel
    row 2p + 1 R G B | R G B | R G B | ...    ──▶    r g b R G B | r g b R G B | r g b R G B | ...

    row of outputs y: pairs y .. y + 3; neighbouring outputs are 2 pixels = 12 bytes apart

A block is 16 outputs of two rows, 2y and 2y + 1, by 64 channels. Both rows share weights, and but
for one pair also their source. With the last row of the block above, they give 8 pooled pixels::

                 ┌ 16 outputs ┐
    row 2y - 1   o o o o o o o o     maxima of 3 neighbours, kept from the blocks above ("above")
    row 2y       o o o o o o o o     even sums
    row 2y + 1   o o o o o o o o     odd sums; their maxima of 3 are the next "above"
               └─┴─┘ └─┴─┘
    the column to the left is the last one of the block before; at the edge, the first one itself

The products of one block run between the vector instructions of the block before, as in
`pointwise`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Label, Mem, Reg, Tmm, Zmm
from netrun.engines.amx.routine import (
    BLOCK,
    COLUMNS,
    LANES,
    LINE,
    ROWS,
    SHARE,
    TILE,
    TILES,
    Kernel,
    Routine,
    Step,
    aligned,
    channel_order,
    configuration,
    interleave,
)

KERNEL, CHANNELS = 7, 3
PAIRS = 4  # of rows, that a window covers
PIXEL = 2 * CHANNELS  # bytes of a pixel in a pair of rows
DEPTH = 44  # bytes of a window in a pair: 7 pixels, rounded up to whole quads
WEIGHTS = DEPTH // 4 * LINE  # bytes of a tile of weights
GROUP = 10  # pixels that are laid together at once: 30 of 32 bytes of either row
POOLED = ROWS // 2  # pooled pixels of a block
_PIXELS, _SEGMENT = COLUMNS * 4 * POOLED, 32  # bytes: of a block's maxima, of a segment's entry
_FIRST_PAIRS = PAIRS + 2  # of a segment, before its first row: those of rows -1, 0 and 1
# Scratch memory: two areas for the sums of two rows, then the end of "above".
_AREA = 2 * BLOCK
_ABOVE, _ABOVE_END, _LAST, _FRAME = 2 * _AREA, 2 * _AREA + 8, 2 * _AREA + 16, 2 * _AREA + LINE
_SUMS, _EVEN_LEFT, _ODD_LEFT = 16, 8, 12  # vectors: temporary, the columns to the left


@dataclass(frozen=True)
class Stem:
    """``pooled = max over 3x3 of relu(conv(source) * scale + bias)``, all of ``u8``.

    The convolution has `height` x `width` outputs; the source is padded already, 2 height + 6 rows
    of 2 width + 6 pixels. Pooling has stride 2 and padding 1: height / 2 x width / 2 pixels.
    """

    height: int
    width: int
    out_channels: int = COLUMNS

    @property
    def fits(self) -> bool:
        """Whether there is a kernel for such a layer; all of its scales have to be positive."""
        return (
            self.out_channels == COLUMNS
            and self.height % 2 == 0 < self.height
            and self.width % ROWS == 0 < self.width
        )

    def pack(self, weights: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Weights (out channels, 3, 7, 7) as the code reads them: (pair, tile, quad, column, 4)."""
        window = np.zeros((COLUMNS, PAIRS, DEPTH), np.int8)
        rows = np.zeros((COLUMNS, 2 * PAIRS, KERNEL, CHANNELS), np.int8)
        rows[:, :KERNEL] = weights.transpose(0, 2, 3, 1)
        pairs = rows.reshape(COLUMNS, PAIRS, 2, KERNEL, CHANNELS).transpose(0, 1, 3, 2, 4)
        window[:, :, : KERNEL * PIXEL] = pairs.reshape(COLUMNS, PAIRS, -1)
        columns = window[channel_order(COLUMNS)[0]]  # tile, column, pair, byte
        tiles = columns.reshape(TILES, LANES, PAIRS, DEPTH // 4, 4)
        packed = np.ascontiguousarray(tiles.transpose(2, 0, 3, 1, 4))
        return packed.view(np.uint8).reshape(-1)

    def make(
        self,
        batch: int,
        threads: int,
        weights: NDArray[np.uint8],
        factors: NDArray[np.float32],
        openmp: ctypes.CDLL,
    ) -> Kernel:
        """A kernel for `batch` samples; raises OSError where memory cannot be made executable."""
        routine = _StemRoutine(self)
        shares = np.zeros((threads, SHARE), np.uint64)
        buffers = [aligned(routine.buffer_bytes) for _ in range(threads)]
        total = batch * self.height // 2
        kept: list[NDArray[Any]] = list(buffers)
        for thread in range(threads):
            begin, end = total * thread // threads, total * (thread + 1) // threads
            segments = np.array(list(self._segments(begin, end)), np.uint64)
            first = segments.ctypes.data
            shares[thread, :3] = first, first + segments.nbytes, buffers[thread].ctypes.data
            kept.append(segments)
        return Kernel(routine, shares, weights, factors, openmp, tuple(kept))

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of source pixels."""
        return (2 * self.width + KERNEL - 1) * CHANNELS

    @property
    def pair_bytes(self) -> int:
        """Bytes that a pair of rows takes, with room for what is written behind it."""
        return -(-(2 * self.row_bytes + LINE) // LINE) * LINE

    def _segments(self, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Pooled rows `begin` to `end` of all samples, cut where samples end.

        Of each: offset of its first pair in the source, offset of its output, rows, and where its
        first pair is put. A sample's first row has none above: the first one itself stands for it.
        """
        height = self.height // 2
        while begin < end:
            sample, row = divmod(begin, height)
            rows = min(height - row, end - begin)
            line = sample * (2 * self.height + KERNEL - 1) + max(2 * (2 * row - 1), 0)
            output = begin * self.width // 2 * COLUMNS
            yield line * self.row_bytes, output, rows, 0 if row else self.pair_bytes
            begin += rows


class _StemRoutine(Routine):
    """Registers: R12 source and R13 weights of a block's products, R10 where its sums go.

    Of the block before: R11 sums, R8 "above", RCX output. R9 and R14: the next rows to lay
    together, and where; R15 pooled rows left, RBX and RBP the segment and the end of all, RSI the
    distance of outputs in a pair of rows. A thread's buffer is "above" and then its pairs of rows.
    """

    def __init__(self, layer: Stem) -> None:
        super().__init__(_FRAME)
        self._layer = layer
        self._blocks = layer.width // ROWS
        self._above_bytes = self._blocks * _PIXELS
        pairs = _FIRST_PAIRS + layer.height
        self.buffer_bytes = self._above_bytes + pairs * layer.pair_bytes
        sums, rows, weights = (ROWS, LINE), (ROWS, DEPTH), (DEPTH // 4, LINE)
        self._config = self.pool.add(configuration([*[sums] * 4, rows, rows, weights, weights]))
        pixel, row, channel = np.ogrid[:GROUP, :2, :CHANNELS]
        order = np.zeros(LINE, np.uint8)
        order[: GROUP * PIXEL] = (32 * row + CHANNELS * pixel + channel).reshape(-1)
        self._order = self.pool.add(order)
        self._last_order = self.pool.add(order + 2)  # of 32 bytes, the last 30

    def work(self, end: Label) -> None:
        """All segments of a share."""
        a, layer = self.a, self._layer
        segment, first_row, loop, advance, finish = (Label() for _ in range(5))
        pair = layer.pair_bytes
        a.mov(Reg.RBX, Mem(Reg.RAX, 0))
        a.mov(Reg.RBP, Mem(Reg.RAX, 8))
        a.mov(Reg.R8, Mem(Reg.RAX, 16))
        a.mov(Mem(Reg.RSP, _ABOVE), Reg.R8)
        a.lea(Reg.R8, Mem(Reg.R8, self._above_bytes))
        a.mov(Mem(Reg.RSP, _ABOVE_END), Reg.R8)
        a.mov(Reg.RCX, self.argument("pool"))
        a.ldtilecfg(Mem(Reg.RCX, self._config))
        a.mov(Reg.R13, self.argument("factors"))
        self.load_factors(Reg.R13)
        a.mov(Reg.R13, self.argument("weights"))
        a.mov(Reg.RSI, 2 * PIXEL)
        a.mov(Reg.R10, Reg.RSP)
        a.lea(Reg.R11, Mem(Reg.RSP, _AREA))
        a.cmp(Reg.RBX, Reg.RBP)
        a.jump_if("je", end)

        a.bind(segment)
        a.mov(Reg.R9, Mem(Reg.RBX, 0))
        a.add(Reg.R9, self.argument("source"))
        a.mov(Reg.R14, Mem(Reg.RBX, 24))
        a.mov(Reg.R8, Mem(Reg.RSP, _ABOVE))
        a.add(Reg.R14, Mem(Reg.RSP, _ABOVE_END))
        a.mov(Reg.R12, Reg.R14)
        a.mov(Reg.R15, Mem(Reg.RSP, _ABOVE_END))
        self._lay_pairs(Mem(Reg.R15, _FIRST_PAIRS * pair))
        a.bind(first_row)
        self.emit(self._products(rows=1))
        self._edge(Reg.R10, rows=1)
        self.emit(self._row_above())
        self._next_block()
        a.cmp(Reg.R8, Mem(Reg.RSP, _ABOVE_END))
        a.jump_if("jne", first_row)

        a.mov(Reg.R12, Mem(Reg.RSP, _ABOVE_END))
        a.add(Reg.R12, pair)
        a.mov(Reg.R8, Mem(Reg.RSP, _ABOVE))
        a.mov(Reg.RCX, Mem(Reg.RBX, 8))
        a.add(Reg.RCX, self.argument("output"))
        a.mov(Reg.R15, Mem(Reg.RBX, 16))
        self.emit(self._products(rows=2))
        a.jmp(advance)

        a.align(LINE)
        a.bind(loop)
        self._edge(Reg.R11, rows=2)
        self.emit(interleave(self._epilogue(), self._products(rows=2)))
        a.add(Reg.RCX, POOLED * COLUMNS)
        a.add(Reg.R8, _PIXELS)
        a.cmp(Reg.R8, Mem(Reg.RSP, _ABOVE_END))
        a.jump_if("jne", advance)
        a.mov(Reg.R8, Mem(Reg.RSP, _ABOVE))
        a.bind(advance)
        a.xchg(Reg.R10, Reg.R11)
        a.add(Reg.R12, ROWS * 2 * PIXEL)
        a.lea(Reg.RAX, Mem(Reg.R8, _PIXELS))
        a.cmp(Reg.RAX, Mem(Reg.RSP, _ABOVE_END))
        a.jump_if("jne", loop)
        a.sub(Reg.R15, 1)
        a.jump_if("je", finish)
        a.add(Reg.R12, 2 * pair - self._blocks * ROWS * 2 * PIXEL)
        self._lay_pairs(Mem(Reg.R14, 2 * pair))
        a.jmp(loop)

        a.bind(finish)
        self._edge(Reg.R11, rows=2)
        self.emit(self._epilogue())
        a.add(Reg.RBX, _SEGMENT)
        a.cmp(Reg.RBX, Reg.RBP)
        a.jump_if("jne", segment)

    def _lay_pairs(self, end: Mem) -> None:
        """Lay pairs of rows from R9 on together at R14, which goes on to `end`."""
        a, layer, again = self.a, self._layer, Label()
        order, last_order = Zmm(_SUMS), Zmm(_SUMS + 1)
        pixels = layer.row_bytes // CHANNELS
        groups = [(start, order, 0) for start in range(0, pixels - GROUP, GROUP)]
        groups.append((pixels - GROUP, last_order, 2))  # reads nothing behind the row
        a.lea(Reg.RAX, end)
        a.mov(Mem(Reg.RSP, _LAST), Reg.RAX)
        a.mov(Reg.RAX, self.argument("pool"))
        a.load(order, Mem(Reg.RAX, self._order))
        a.load(last_order, Mem(Reg.RAX, self._last_order))
        a.bind(again)
        for index, (start, permutation, before) in enumerate(groups):
            rows, offset = Zmm(_SUMS + 2 + index % 8), start * CHANNELS - before
            a.repeat(rows, Mem(Reg.R9, offset))
            a.insert(rows, Mem(Reg.R9, offset + layer.row_bytes))
            a.vector("vpermb", rows, permutation, rows)
            a.store(Mem(Reg.R14, start * PIXEL), rows)
        a.add(Reg.R9, 2 * layer.row_bytes)
        a.add(Reg.R14, layer.pair_bytes)
        a.cmp(Reg.R14, Mem(Reg.RSP, _LAST))
        a.jump_if("jne", again)

    def _products(self, rows: int) -> list[Step]:
        """Sums of one or two rows of outputs from the pairs at R12, into the area at R10.

        Two rows take two tiles of channels at a time, as eight tiles of sums are not to be had.
        """
        a, steps = self.a, list[Step]()
        at_once = TILES // rows
        for first in range(0, TILES, at_once):
            sums = [
                [Tmm(row * at_once + column) for column in range(at_once)] for row in range(rows)
            ]
            steps += [partial(a.tilezero, tile) for row in sums for tile in row]
            source = [Tmm(4), Tmm(5)]  # of a pair: what is the second row's is the first row's next
            steps.append(partial(a.tileloadd, source[0], self._pair(0)))
            for pair in range(PAIRS):
                upper, lower = source[pair % 2], source[1 - pair % 2]
                if rows == 2 or pair + 1 < PAIRS:
                    steps.append(partial(a.tileloadd, lower, self._pair(pair + 1)))
                for column in range(at_once):
                    weights = Tmm(6 + column % 2)
                    offset = (pair * TILES + first + column) * WEIGHTS
                    steps.append(partial(a.tileloadd, weights, Mem(Reg.R13, offset, Reg.RDX)))
                    for row, tile in zip((upper, lower), sums, strict=False):
                        product = partial(a.tile_product, "tdpbusd", tile[column], row, weights)
                        steps.append(product)
            places = [
                (tile.number, row * BLOCK + (first + column) * TILE)
                for row, tiles in enumerate(sums)
                for column, tile in enumerate(tiles)
            ]
            steps += self.store_tiles(Reg.R10, places)
        return steps

    def _pair(self, index: int) -> Mem:
        return Mem(Reg.R12, index * self._layer.pair_bytes, Reg.RSI)

    def _edge(self, area: Reg, rows: int) -> None:
        """Where the block begins a row, its first column stands for the one to its left."""
        a, inside = self.a, Label()
        a.cmp(Reg.R8, Mem(Reg.RSP, _ABOVE))
        a.jump_if("jne", inside)
        self.emit(self._keep_column(area, 0, rows))
        a.bind(inside)

    def _keep_column(self, area: Reg, column: int, rows: int) -> list[Step]:
        """A column of the sums into the vectors that the next block takes for its left one."""
        return [
            partial(self.a.load, Zmm(left + j), Mem(area, offset + j * TILE + column * LINE))
            for left, offset in ((_ODD_LEFT, (rows - 1) * BLOCK), (_EVEN_LEFT, 0))[:rows]
            for j in range(TILES)
        ]

    def _neighbours(self, target: Zmm, left: Zmm, area: Reg, tile: int, pooled: int) -> list[Step]:
        """The maximum of three neighbouring sums; `tile` is an offset in the area."""
        a = self.a
        at = [Mem(area, tile + (2 * pooled + column) * LINE) for column in (-1, 0, 1)]
        first: Zmm | Mem = at[0] if pooled else left
        return [
            partial(a.load, target, at[1]),
            partial(a.vector, "vpmaxsd", target, target, at[2]),
            partial(a.vector, "vpmaxsd", target, target, first),
        ]

    def _row_above(self) -> list[Step]:
        """Maxima of the single row of sums at R10, into "above" at R8."""
        steps: list[Step] = []
        for pooled in range(POOLED):
            for j in range(TILES):
                target = Zmm(_SUMS + (pooled % 2) * TILES + j)
                left = Zmm(_ODD_LEFT + j)
                steps += self._neighbours(target, left, Reg.R10, j * TILE, pooled)
                steps.append(partial(self.a.store, self._above(pooled, j), target))
        return steps + self._keep_column(Reg.R10, ROWS - 1, rows=1)

    def _next_block(self) -> None:
        self.a.add(Reg.R12, ROWS * 2 * PIXEL)
        self.a.add(Reg.R8, _PIXELS)

    def _epilogue(self) -> list[Step]:
        """From the sums of two rows at R11 and "above" at R8 to pooled pixels at RCX."""
        a, steps = self.a, list[Step]()
        for pooled in range(POOLED):
            first = _SUMS + pooled % 2 * 2 * TILES
            even = [Zmm(first + j) for j in range(TILES)]
            for j in range(TILES):
                odd, above = Zmm(first + TILES + j), self._above(pooled, j)
                left, tile = Zmm(_ODD_LEFT + j), BLOCK + j * TILE
                steps += self._neighbours(odd, left, Reg.R11, tile, pooled)
                steps += self._neighbours(even[j], Zmm(_EVEN_LEFT + j), Reg.R11, j * TILE, pooled)
                steps.append(partial(a.vector, "vpmaxsd", even[j], even[j], above))
                steps.append(partial(a.store, above, odd))
                steps.append(partial(a.vector, "vpmaxsd", even[j], even[j], odd))
                steps.append(partial(a.convert, "vcvtdq2ps", even[j], even[j]))
                steps += self.scale(j, even[j])
                steps.append(partial(a.convert, "vcvtps2dq", even[j], even[j]))
            steps += self.pack(even, Mem(Reg.RCX, pooled * COLUMNS), "u8")
        return steps + self._keep_column(Reg.R11, ROWS - 1, rows=2)

    def _above(self, pooled: int, tile: int) -> Mem:
        return Mem(Reg.R8, (pooled * TILES + tile) * LINE)
