"""A 1x1 convolution: products of tiles with the epilogue of the block before.

It is a product of matrices, rows (pixels of all samples) x channels times channels x output
channels. A block is up to 16 rows by 64 output channels, four tiles of sums::

      source             weights (4 tiles of 16 columns)         sums
    k 0 .. 63          +--------+--------+--------+--------+
   +----------+        |  B 0   |  B 1   |  B 2   |  B 3   |
   | 16 rows  |   x    | 16 x   |        |        |        |  +=  C 0, C 1, C 2, C 3
   |   of A   |        | 16 x 4 |        |        |        |      16 x 16 int32 each
   +----------+        +--------+--------+--------+--------+

Where channels are few, the time goes into what follows: scaling, bias, residual, rounding. So the
tiles' products of one block run between the vector instructions of the block before, whose sums lie
in one of two scratch areas::

    products 0 | products 1, epilogue 0 | products 2, epilogue 1 | ... | epilogue n

All rows go through one block of 64 output channels before the next one, whose weights stay in the
first-level cache. Rows that fill no block come in the end, in a block that overlaps the one before;
of it, only they are stored.

While tiles are in use, multiplication and conversion have one port instead of two. Where that
bounds (few channels, a residual), sums do without a conversion: they start at 0x4B400000, which is
what the float 1.5 * 2^23 looks like, so that sums of less than 2^22 are floats already, too large
by that number, which an addition takes off exactly.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache, partial

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
    channel_order,
    configuration,
    interleave,
)

MOST_CHANNELS = 2048  # the code is unrolled over them
BIASED_CHANNELS = 128  # 128 * 255 * 128 < 2^22
BIAS = 1.5 * 2**23
# Scratch memory: two areas of sums, the tile that biased sums start from, then two addresses.
_BIASED, _TAIL = 2 * BLOCK, 2 * BLOCK + TILE
SOURCE, _FRAME = _TAIL + 8, _TAIL + LINE
_MASKS, _RESIDUAL_SCALE, _BOUND, _UNBIAS, _FREE = 8, Zmm(12), Zmm(13), Zmm(14), 15
_ENTRY = 16  # bytes of an entry of the list of blocks


@dataclass(frozen=True)
class Pointwise:
    """``output = clamp(source x weights * scale + bias + residual * residual_scale)``.

    A sample has `height` x `width` outputs, `stride` source pixels apart. Types are ``u8`` or
    ``s8``; `residual` is the residual's, or None. `relu`: negative results are 0; `bound`: larger
    ones than this, in units of the output, are this.
    """

    height: int
    width: int
    channels: int
    out_channels: int
    stride: int = 1
    source: str = "u8"
    output: str = "u8"
    residual: str | None = None
    residual_scale: float = 0.0
    relu: bool = True
    bound: float | None = None

    @property
    def fits(self) -> bool:
        """Whether there is a kernel for such a layer."""
        return self.shaped and self.channels <= MOST_CHANNELS

    @property
    def shaped(self) -> bool:
        """Whether its types and channels suit the tiles."""
        depth = _depth(self.channels)
        return (
            self.channels % depth == 0 == depth % 4
            and self.out_channels % COLUMNS == 0
            # Packing into u8 saturates at 0 by itself; nothing else does.
            and self.relu == (self.output == "u8")
            and {self.source, self.output, self.residual or "u8"} <= {"u8", "s8"}
        )

    def pack(self, weights: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Weights (out channels, channels) as the code reads them.

        (block of 64 output channels, step of 64 channels, tile, channels / 4, column, 4)
        """
        depth = _depth(self.channels)
        columns = weights.reshape(self.out_channels, self.channels)[
            channel_order(self.out_channels)
        ]
        tiles = columns.reshape(-1, TILES, LANES, self.channels // depth, depth // 4, 4)
        packed = np.ascontiguousarray(tiles.transpose(0, 3, 1, 4, 2, 5))
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
        rows, blocks, tail = self.blocks(batch)
        bounds = [len(blocks) * thread // threads for thread in range(threads + 1)]
        shares = np.zeros((threads, SHARE), np.uint64)
        shares[:, 0] = [blocks.ctypes.data + _ENTRY * bound for bound in bounds[:-1]]
        shares[:, 1] = [blocks.ctypes.data + _ENTRY * bound for bound in bounds[1:]]
        if tail[-1]:
            shares[-1, 2] = tail.ctypes.data
        return Kernel(_routine(self, rows), shares, weights, factors, openmp, (blocks, tail))

    def blocks(self, batch: int) -> tuple[int, NDArray[np.uint64], NDArray[np.uint64]]:
        """Rows of a block; (source, output) offsets of each; what is left.

        What is left: source and output offset, its first row's offset in a tile, its rows (or 0).
        """
        total = batch * self.height * self.width
        if self.stride == 1:
            rows = min(ROWS, total)
            starts = np.arange(0, total - rows + 1, rows)
            source = starts * self.channels
        else:  # a block stays within a row of pixels, where the distance of source rows is one
            rows = max(r for r in range(1, ROWS + 1) if self.width % r == 0)
            starts = np.arange(0, total, rows)
            sample, y, x = np.ogrid[:batch, : self.height, : self.width : rows]
            line = (sample * self.height * self.stride + y * self.stride) * self.width * self.stride
            source = (line + x * self.stride).reshape(-1) * self.channels
        blocks = np.stack([source, starts * self.out_channels], 1).astype(np.uint64)
        left = total - len(starts) * rows
        tail = [
            (total - rows) * self.channels,
            (total - left) * self.out_channels,
            (rows - left) * LINE,
            left,
        ]
        return rows, blocks, np.array(tail, np.uint64)


class PointwiseRoutine(Routine):
    """The code for blocks of `rows` rows.

    Registers: R12 source and R13 weights of a block's products, R10 where its sums go.

    Of the block before: R11 sums, R8 residual, R9 factors, RCX output. RBX, R15 and RBP are the
    entry in the list of blocks, the first and the end, R14 the first output channel, RSI the
    distance of source rows.
    """

    def __init__(self, layer: Pointwise, rows: int) -> None:
        super().__init__(_FRAME)
        self._layer, self._rows = layer, rows
        self._step = layer.stride * layer.channels  # bytes from a row of a block to the next
        self._depth = _depth(layer.channels)
        self._biased = layer.residual is not None and layer.channels <= BIASED_CHANNELS
        wide, narrow = (rows, LINE), (rows, self._depth)
        weights = (self._depth // 4, LINE)
        self._config = self.pool.add(configuration([*[wide] * 4, narrow, narrow, weights, weights]))
        # A residual of s8 stands in the upper byte of its int32, and so with its sign.
        signed = layer.residual == "s8"
        masks = np.full((TILES, 4, 4, 4), 0x80, np.uint8)
        masks[:, :, :, 3 if signed else 0] = np.arange(LANES).reshape(TILES, 1, 4)
        self._masks = self.pool.add(masks)
        scale = np.float32(layer.residual_scale) * np.float32(2.0**-24 if signed else 1.0)
        self._scalars = self.pool.add(
            np.array([scale, layer.bound or 0.0, -BIAS, BIAS], np.float32)
        )

    def work(self, end: Label) -> None:
        """All full blocks, then the rows that are left."""
        a = self.a
        tail, loop, advance, proceed, finish = (Label() for _ in range(5))
        self._begin()
        a.cmp(Reg.RBX, Reg.RBP)
        a.jump_if("je", tail)
        self._find_source()
        self.emit(self._products())
        a.jmp(advance)
        a.align(LINE)
        a.bind(loop)
        self.load_factors(Reg.R9)
        self.emit(interleave(interleave(self._epilogue(), self._prefetches()), self._products()))
        a.bind(advance)
        self._find_outputs()
        a.xchg(Reg.R10, Reg.R11)
        a.add(Reg.RBX, _ENTRY)
        a.cmp(Reg.RBX, Reg.RBP)
        a.jump_if("jne", proceed)
        a.mov(Reg.RBX, Reg.R15)
        self._next_channels()
        a.jump_if("je", finish)
        a.bind(proceed)
        self._find_source()
        a.jmp(loop)
        a.bind(finish)
        self.load_factors(Reg.R9)
        self.emit(self._epilogue())
        a.bind(tail)
        self._tail(end)

    def _begin(self) -> None:
        a = self.a
        a.mov(Reg.RBX, Mem(Reg.RAX, 0))
        a.mov(Reg.R15, Reg.RBX)
        a.mov(Reg.RBP, Mem(Reg.RAX, 8))
        a.mov(Reg.RCX, Mem(Reg.RAX, 16))
        a.mov(Mem(Reg.RSP, _TAIL), Reg.RCX)
        a.mov(Reg.RCX, self.argument("pool"))
        a.ldtilecfg(Mem(Reg.RCX, self._config))
        for tile in range(TILES):
            a.load(Zmm(_MASKS + tile), Mem(Reg.RCX, self._masks + tile * LINE))
        for index, register in enumerate((_RESIDUAL_SCALE, _BOUND, _UNBIAS, Zmm(_FREE))):
            a.broadcast(register, Mem(Reg.RCX, self._scalars + 4 * index))
        if self._biased:
            for row in range(ROWS):
                a.store(Mem(Reg.RSP, _BIASED + row * LINE), Zmm(_FREE))
        self.prepare_source()
        a.mov(Reg.RSI, self._step)
        a.mov(Reg.R10, Reg.RSP)
        a.lea(Reg.R11, Mem(Reg.RSP, BLOCK))
        self._first_channels()

    def prepare_source(self) -> None:
        """Note where the rows are; may use RAX (the share), R8 to R14 and vectors from 16."""
        self.a.mov(Reg.RCX, self.argument("source"))
        self.a.mov(Mem(Reg.RSP, SOURCE), Reg.RCX)

    def _first_channels(self) -> None:
        self.a.mov(Reg.R13, self.argument("weights"))
        self.a.mov(Reg.R14, 0)

    def _next_channels(self) -> None:
        """Go to the next output channels; the flags say equal where there are none."""
        self.a.add(Reg.R13, COLUMNS * self._layer.channels)
        self.a.add(Reg.R14, COLUMNS)
        self.a.cmp(Reg.R14, self._layer.out_channels)

    def _find_source(self) -> None:
        self.a.mov(Reg.R12, Mem(Reg.RBX, 0))
        self.a.add(Reg.R12, Mem(Reg.RSP, SOURCE))

    def _find_outputs(self) -> None:
        a = self.a
        a.mov(Reg.RCX, Mem(Reg.RBX, 8))
        a.add(Reg.RCX, Reg.R14)
        a.mov(Reg.R8, Reg.RCX)
        a.add(Reg.R8, self.argument("residual"))
        a.add(Reg.RCX, self.argument("output"))
        a.mov(Reg.R9, Reg.R14)
        a.shl(Reg.R9, 3)  # two floats a channel
        a.add(Reg.R9, self.argument("factors"))

    def _products(self) -> list[Step]:
        """The sums of the block at R12, into the scratch area at R10."""
        a, tile = self.a, self._depth * LANES
        product = "tdpbusd" if self._layer.source == "u8" else "tdpbssd"
        start = Mem(Reg.RSP, _BIASED, Reg.RDX)
        steps: list[Step] = [
            partial(a.tileloadd, Tmm(j), start) if self._biased else partial(a.tilezero, Tmm(j))
            for j in range(TILES)
        ]
        for step in range(self._layer.channels // self._depth):
            rows = Tmm(4 + step % 2)
            steps.append(partial(a.tileloadd, rows, Mem(Reg.R12, step * self._depth, Reg.RSI)))
            for j in range(TILES):
                columns, offset = Tmm(6 + j % 2), (step * TILES + j) * tile
                steps.append(partial(a.tileloadd, columns, Mem(Reg.R13, offset, Reg.RDX)))
                steps.append(partial(a.tile_product, product, Tmm(j), rows, columns))
        return steps + self.store_tiles(Reg.R10, [(j, j * TILE) for j in range(TILES)])

    def _epilogue(self) -> list[Step]:
        """From the sums at R11 to the output at RCX."""
        return [step for row in range(self._rows) for step in self._row(row)]

    def _row(self, row: int) -> list[Step]:
        a, layer = self.a, self._layer
        offset = row * layer.out_channels
        first = _FREE + row % 2 * 2 * TILES  # two rows are under way at once
        sums = [Zmm(first + j) for j in range(TILES)]
        added = [Zmm(first + TILES + j) for j in range(TILES)]
        steps: list[Step] = []
        if layer.residual is not None:
            steps.append(partial(a.load, added[-1], Mem(Reg.R8, offset)))
        for j in range(TILES):
            stored = Mem(Reg.R11, j * TILE + row * LINE)
            if self._biased:
                steps.append(partial(a.vector, "vaddps", sums[j], _UNBIAS, stored))
            else:
                steps.append(partial(a.convert, "vcvtdq2ps", sums[j], stored))
            steps += self.scale(j, sums[j])
            if layer.residual is not None:
                mask = Zmm(_MASKS + j)
                steps.append(partial(a.vector, "vpshufb", added[j], added[-1], mask))
                steps.append(partial(a.convert, "vcvtdq2ps", added[j], added[j]))
                steps.append(partial(a.vector, "vfmadd231ps", sums[j], added[j], _RESIDUAL_SCALE))
            if layer.bound is not None:
                steps.append(partial(a.vector, "vminps", sums[j], sums[j], _BOUND))
            steps.append(partial(a.convert, "vcvtps2dq", sums[j], sums[j]))
        return steps + self.pack(sums, Mem(Reg.RCX, offset), layer.output)

    def _prefetches(self) -> list[Step]:
        """Fetch what the epilogue of the block at RBX will read and write."""
        a, layer = self.a, self._layer
        held, fetch = (
            ("output", a.prefetchw) if layer.residual is None else ("residual", a.prefetch)
        )
        return [
            partial(a.mov, Reg.RAX, Mem(Reg.RBX, 8)),
            partial(a.add, Reg.RAX, Reg.R14),
            partial(a.add, Reg.RAX, self.argument(held)),
            *[partial(fetch, Mem(Reg.RAX, row * layer.out_channels)) for row in range(self._rows)],
        ]

    def _tail(self, end: Label) -> None:
        a, block, row = self.a, Label(), Label()
        a.mov(Reg.RBX, Mem(Reg.RSP, _TAIL))
        a.cmp(Reg.RBX, 0)
        a.jump_if("je", end)
        self._first_channels()
        self._find_source()
        a.bind(block)
        self.emit(self._products())
        self._find_outputs()
        self.load_factors(Reg.R9)
        a.mov(Reg.R11, Reg.R10)
        a.add(Reg.R11, Mem(Reg.RBX, 16))
        a.mov(Reg.R15, Mem(Reg.RBX, 24))
        a.bind(row)
        self.emit(self._row(0))
        a.add(Reg.RCX, self._layer.out_channels)
        a.add(Reg.R8, self._layer.out_channels)
        a.add(Reg.R11, LINE)
        a.sub(Reg.R15, 1)
        a.jump_if("jne", row)
        self._next_channels()
        a.jump_if("jne", block)


@cache
def _routine(layer: Pointwise, rows: int) -> PointwiseRoutine:
    return PointwiseRoutine(layer, rows)


def _depth(channels: int) -> int:
    """Channels of a tile's row."""
    return min(channels, LINE)
