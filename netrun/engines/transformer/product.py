"""A linear layer on a stream of tokens, with what follows it, for AMX.

``sums = source x weights``, int8 by int8 or bfloat16 by bfloat16; then, by `kind`::

    "bf16"      output = sums * scale + bias                        bfloat16
    "cross"     output = output + residual * (sums * scale + bias)  bfloat16
    "gelu"      output = gelu(sums * scale + bias) * gain + shift   int8
    "half"      output = sums * scale + bias                        float16
    "int8"      output = sums * scale + bias                        int8
    "relu"      output = max(sums * scale + bias, 0)                bfloat16
    "residual"  output = sums * scale + bias + residual             float16
    "u8", "s8"  output = max(sums * scale + bias, 0)                uint8 up to 255, int8 up to 127

A block is 32 tokens by 32 output channels: four tiles of sums, for which a step over 64 bytes of
channels loads two tiles of tokens and two of weights::

              B 0 | B 1
      A 0     C 00  C 01
      A 1     C 10  C 11

All tokens go through one panel of 32 output channels before the next one, so that its weights stay
in the first-level cache (32 KiB for 1024 bytes of channels) and tokens come from the second. Where
there are more, a panel is cut into chunks, and sums wait in memory from chunk to chunk. What
follows the sums of one block is computed between the products of the next.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Label, Mem, Reg, Tmm, Zmm
from netrun.engines.amx.routine import (
    LINE,
    ROWS,
    SHARE,
    TILE,
    Kernel,
    Routine,
    Step,
    aligned,
    configuration,
    interleave,
)
from netrun.engines.transformer.instructions import Vectors

WIDTH = 32
"""Tokens and output channels of a block."""
CHUNK = 1024
"""Most bytes of channels in a chunk: its weights have to stay in the first-level cache."""
BLOCK = 4 * TILE
AHEAD = 32
"""Lines of the next panel's weights that are fetched while a block is computed."""
KINDS = {
    "bf16": 2, "cross": 2, "gelu": 1, "half": 2, "int8": 1,
    "relu": 2, "residual": 2, "u8": 1, "s8": 1,
}  # fmt: skip
"""What follows the sums, and the bytes of an output."""
SOURCES = {"s8": "tdpbssd", "u8": "tdpbusd", "bf16": "tdpbf16ps"}
"""What tokens are, and how their tiles are multiplied: bfloat16 by bfloat16, others by int8."""
_FACTORS = dict.fromkeys(KINDS, 256) | {"gelu": 384}
"""Bytes of a panel."""
_NARROWED = {"u8": "vpmovusdb", "s8": "vpmovsdb", "int8": "vpmovsdb"}
_RECTIFIED = ("relu", "u8", "s8")
# gelu(x) = max(x, 0) - t (BOUND - t)^3 p(t), t = min(|x|, BOUND); p from t^0 on. In float16 it is
# within 0.0014 of the exact one for |x| < 3, which is what float16 holds there.
BOUND = 3.900390625
GELU = (0.0084996178, -0.00036469433, -0.0021612305, 0.00052154747)
_COEFFICIENTS = [Zmm(4 + index) for index in range(len(GELU))]
_LIMIT, _ZERO, _MAGNITUDE, _GAIN, _SHIFT = (Zmm(4 + len(GELU) + index) for index in range(5))
_OUT_ROW, _COLUMN, _FACTOR, _PANELS, _FRAME = (2 * BLOCK + 8 * i for i in range(5))


@dataclass(frozen=True)
class Product:
    """A linear layer of `channels` inputs and `out_channels` outputs."""

    channels: int
    out_channels: int
    kind: str
    source_stride: int
    """Bytes from a token to the next; so that tokens do not meet in the cache, no power of two."""
    output_stride: int
    """The same of output and residual."""
    source: str = "s8"
    """One of SOURCES."""

    @property
    def fits(self) -> bool:
        """Whether tiles suit its sizes."""
        return self.depth % LINE == 0 and self.out_channels % WIDTH == 0

    @property
    def depth(self) -> int:
        """Bytes of a token's channels, and of an output's weights."""
        return self.channels * (2 if self.source == "bf16" else 1)

    @property
    def chunk(self) -> int:
        """Bytes of channels in a chunk."""
        steps = self.depth // LINE
        most = CHUNK // LINE
        return LINE * max(n for n in range(1, most + 1) if steps % n == 0)

    @property
    def panels(self) -> int:
        """Groups of 32 output channels."""
        return self.out_channels // WIDTH

    def pack(self, weights: NDArray[np.int8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Weights (out channels, channels) in the order in which tiles are loaded.

        (panel, step of 64 bytes, tile, bytes / 4, column, 4); bfloat16 are given as uint16.
        """
        shape = (self.panels, 2, 16, self.depth // LINE, 16, 4)
        data = np.ascontiguousarray(weights).view(np.int8)
        packed = np.ascontiguousarray(data.reshape(shape).transpose(0, 3, 1, 4, 2, 5))
        return packed.view(np.uint8).reshape(-1)

    def unpack(self, packed: NDArray[np.uint8]) -> NDArray[np.int8]:
        """Weights int8 (out channels, channels) from what `pack` made of them."""
        tiles = packed.view(np.int8).reshape(self.panels, self.channels // LINE, 2, 16, 16, 4)
        ordered = tiles.transpose(0, 2, 4, 1, 3, 5)
        return np.ascontiguousarray(ordered).reshape(self.out_channels, self.channels)

    def unpack_factors(self, packed: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Scales and bias, with "gelu" gain and shift, from what `pack_factors` made of them."""
        rows = packed.reshape(self.panels, -1)
        whole = np.ascontiguousarray(rows[:, : 8 * WIDTH]).view(np.float32)
        half = np.ascontiguousarray(rows[:, 8 * WIDTH :]).view(np.float16).astype(np.float32)
        return [
            np.ascontiguousarray(part[:, at : at + WIDTH]).reshape(-1)
            for part in (whole, half)
            for at in range(0, part.shape[1], WIDTH)
        ]

    def pack_factors(
        self,
        scales: NDArray[np.float32],
        bias: NDArray[np.float32],
        gain: NDArray[np.float32] | None = None,
        shift: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Factors of the output channels, by panel."""
        parts = [scales.astype(np.float32), bias.astype(np.float32)]
        if self.kind == "gelu":
            assert gain is not None and shift is not None
            parts += [gain.astype(np.float16), shift.astype(np.float16)]
        rows = [part.reshape(self.panels, WIDTH).view(np.uint8) for part in parts]
        return np.ascontiguousarray(np.concatenate(rows, 1)).reshape(-1)

    def make(
        self,
        tokens: int,
        threads: int,
        weights: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        openmp: ctypes.CDLL,
    ) -> ProductKernel:
        """A kernel for up to `tokens` tokens; raises OSError where there can be no such code."""
        return ProductKernel(self, tokens, threads, weights, factors, openmp)


class ProductKernel(Kernel):
    """A layer's kernel. Memory of tokens is rounded up to whole blocks."""

    def __init__(
        self,
        layer: Product,
        tokens: int,
        threads: int,
        weights: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        openmp: ctypes.CDLL,
    ) -> None:
        shares = np.zeros((threads, SHARE), np.uint64)
        bounds = [layer.panels * thread // threads for thread in range(threads + 1)]
        shares[:, 0], shares[:, 1] = bounds[:-1], bounds[1:]
        waiting: list[NDArray[Any]] = []
        if layer.chunk < layer.depth:
            waiting = [aligned(-(-tokens // WIDTH) * BLOCK) for _ in range(threads)]
            shares[:, 3] = [memory.ctypes.data for memory in waiting]
        self._shares = shares
        super().__init__(
            _routine(layer), shares, weights, factors.view(np.float32), openmp, tuple(waiting)
        )

    def set_tokens(self, tokens: int) -> None:
        """How many tokens calls from now on have."""
        self._shares[:, 2] = -(-tokens // WIDTH)


class ProductRoutine(Routine):
    """Registers: R12 tokens and R13 weights of a block's products, R10 where its sums go.

    Of the block before: R11 sums, R8 residual, R9 factors, RCX output. R15 blocks left, RBP sums
    that wait, RSI the distance of tokens. Vectors: 0 to 3 scales and bias, from 16 on temporary.
    """

    a: Vectors

    def __init__(self, layer: Product) -> None:
        super().__init__(_FRAME + 24)
        self.a = Vectors()
        self._layer = layer
        self._steps = layer.chunk // LINE
        self._chunks = layer.depth // layer.chunk
        self._config = self.pool.add(configuration([(ROWS, LINE)] * 8))
        constants = np.array([*GELU, BOUND, 0.0, np.nan], np.float16)
        constants.view(np.uint16)[-1] = 0x7FFF  # all but the sign
        self._halves = self.pool.add(np.repeat(constants, LINE // 2))

    def work(self, end: Label) -> None:
        """All panels of the share."""
        a, layer = self.a, self._layer
        a.mov(Reg.RBX, Mem(Reg.RAX, 0))
        a.mov(Reg.RCX, Mem(Reg.RAX, 8))
        a.sub(Reg.RCX, Reg.RBX)
        a.jump_if("je", end)
        a.mov(Mem(Reg.RSP, _PANELS), Reg.RCX)
        a.mov(Reg.R14, Reg.RAX)
        self._panel_start()
        a.mov(Reg.RCX, self.argument("pool"))
        a.ldtilecfg(Mem(Reg.RCX, self._config))
        if layer.kind == "gelu":
            for index, register in enumerate((*_COEFFICIENTS, _LIMIT, _ZERO, _MAGNITUDE)):
                a.load(register, Mem(Reg.RCX, self._halves + index * LINE))
        if layer.kind in _RECTIFIED:
            a.load(_ZERO, Mem(Reg.RCX, self._halves + (len(GELU) + 1) * LINE))
        a.mov(Reg.RSI, layer.source_stride)
        a.mov(Reg.R10, Reg.RSP)
        a.lea(Reg.R11, Mem(Reg.RSP, BLOCK))
        (self._work_whole if self._chunks == 1 else self._work_chunks)()

    def _panel_start(self) -> None:
        """From the panel in RBX: weights, factors, column of the output."""
        a, layer = self.a, self._layer
        for place, unit in (
            (_FACTOR, _FACTORS[layer.kind]),
            (_COLUMN, WIDTH * KINDS[layer.kind]),
        ):
            a.multiply(Reg.RCX, Reg.RBX, unit)
            a.mov(Mem(Reg.RSP, place), Reg.RCX)
        a.mov(Reg.RCX, Mem(Reg.RSP, _FACTOR))
        a.add(Reg.RCX, self.argument("factors"))
        a.mov(Mem(Reg.RSP, _FACTOR), Reg.RCX)
        a.multiply(Reg.R13, Reg.RBX, WIDTH * layer.depth)
        a.add(Reg.R13, self.argument("weights"))

    def _work_whole(self) -> None:
        a, layer = self.a, self._layer
        loops, ready, finish = (Label(), Label()), (Label(), Label()), Label()
        self._first_block()
        self.emit(self._products(backward=False))
        a.jmp(ready[0])
        for backward in (False, True):
            a.align(LINE)
            a.bind(loops[backward])
            self.emit(interleave(self._epilogue(), self._products(backward)))
            a.bind(ready[backward])
            self._sums_are_ready()
            a.jump_if("jne", loops[not backward])
            a.add(Reg.R13, WIDTH * layer.depth)
            self._next_panel()
            a.jump_if("je", finish)
            self._first_block()
            a.jmp(loops[not backward])
        a.bind(finish)
        self.emit(self._epilogue())

    def _work_chunks(self) -> None:
        a, layer = self.a, self._layer
        panel = Label()
        a.bind(panel)
        for chunk in range(self._chunks - 1):
            loops, done = (Label(), Label()), Label()
            self._first_block(chunk * layer.chunk)
            for backward in (False, True):
                if not backward:
                    a.align(LINE)
                a.bind(loops[backward])
                self.emit(self._products(backward, waiting=chunk > 0, wait=True))
                a.add(Reg.R12, WIDTH * layer.source_stride)
                a.add(Reg.RBP, BLOCK)
                a.sub(Reg.R15, 1)
                if backward:
                    a.jump_if("jne", loops[False])
                else:
                    a.jump_if("je", done)
            a.bind(done)
            a.add(Reg.R13, WIDTH * layer.chunk)
        loops, ready, finish = (Label(), Label()), (Label(), Label()), Label()
        self._first_block((self._chunks - 1) * layer.chunk)
        self.emit(self._products(backward=False, waiting=True))
        a.jmp(ready[0])
        for backward in (False, True):
            a.align(LINE)
            a.bind(loops[backward])
            self.emit(interleave(self._epilogue(), self._products(backward, waiting=True)))
            a.bind(ready[backward])
            a.add(Reg.RBP, BLOCK)
            self._sums_are_ready()
            if backward:
                a.jump_if("jne", loops[False])
            else:
                a.jump_if("je", finish)
        a.bind(finish)
        self.emit(self._epilogue())
        a.add(Reg.R13, WIDTH * layer.chunk)
        self._next_panel()
        a.jump_if("jne", panel)

    def _first_block(self, begin: int = 0) -> None:
        """The first tokens; R14 is the share."""
        a, layer = self.a, self._layer
        a.mov(Reg.R12, self.argument("source"))
        a.lea(Reg.RBX, Mem(Reg.R13, WIDTH * layer.chunk))
        if begin:
            a.add(Reg.R12, begin)
        a.mov(Reg.R15, Mem(Reg.R14, 16))
        a.mov(Reg.RBP, Mem(Reg.R14, 24))
        a.mov(Reg.RAX, 0)
        a.mov(Mem(Reg.RSP, _OUT_ROW), Reg.RAX)

    def _sums_are_ready(self) -> None:
        """Where the block's outputs go; on to the next, the flags say equal after the last."""
        a, layer = self.a, self._layer
        a.mov(Reg.RCX, Mem(Reg.RSP, _OUT_ROW))
        a.lea(Reg.RAX, Mem(Reg.RCX, WIDTH * layer.output_stride))
        a.mov(Mem(Reg.RSP, _OUT_ROW), Reg.RAX)
        a.add(Reg.RCX, Mem(Reg.RSP, _COLUMN))
        a.mov(Reg.R8, Reg.RCX)
        a.add(Reg.R8, self.argument("residual"))
        a.add(Reg.RCX, self.argument("output"))
        a.mov(Reg.R9, Mem(Reg.RSP, _FACTOR))
        a.xchg(Reg.R10, Reg.R11)
        a.add(Reg.R12, WIDTH * layer.source_stride)
        a.sub(Reg.R15, 1)

    def _next_panel(self) -> None:
        """On to the next output channels; the flags say equal after the last."""
        a, layer = self.a, self._layer
        for place, unit in (
            (_FACTOR, _FACTORS[layer.kind]),
            (_COLUMN, WIDTH * KINDS[layer.kind]),
        ):
            a.mov(Reg.RAX, Mem(Reg.RSP, place))
            a.add(Reg.RAX, unit)
            a.mov(Mem(Reg.RSP, place), Reg.RAX)
        a.mov(Reg.RAX, Mem(Reg.RSP, _PANELS))
        a.sub(Reg.RAX, 1)
        a.mov(Mem(Reg.RSP, _PANELS), Reg.RAX)

    def _products(self, backward: bool, waiting: bool = False, wait: bool = False) -> list[Step]:
        """Sums of a block; `waiting`: added to those at RBP; `wait`: stored there.

        Every second block goes over its channels backwards: the weights that the block before has
        used last are still in the first-level cache, which does not hold all of them and tokens.
        """
        a = self.a
        steps: list[Step] = []
        for tile in range(4):
            if waiting:
                place = Mem(Reg.RBP, tile * TILE, Reg.RDX)
                steps.append(partial(a.tileloadd, Tmm(tile), place))
            else:
                steps.append(partial(a.tilezero, Tmm(tile)))
        second = ROWS * self._layer.source_stride
        order, kind = range(self._steps), SOURCES[self._layer.source]
        product = a.product_bf16 if kind == "tdpbf16ps" else partial(a.tile_product, kind)
        for step in reversed(order) if backward else order:
            upper, lower, left, right = Tmm(4), Tmm(5), Tmm(6), Tmm(7)
            at, weights = step * LINE, 2 * step * TILE
            steps += [
                partial(a.tileloadd, upper, Mem(Reg.R12, at, Reg.RSI)),
                partial(a.tileloadd, left, Mem(Reg.R13, weights, Reg.RDX)),
                partial(product, Tmm(0), upper, left),
                partial(a.tileloadd, right, Mem(Reg.R13, weights + TILE, Reg.RDX)),
                partial(product, Tmm(1), upper, right),
                partial(a.tileloadd, lower, Mem(Reg.R12, second + at, Reg.RSI)),
                partial(product, Tmm(2), lower, left),
                partial(product, Tmm(3), lower, right),
            ]
        base = Reg.RBP if wait else Reg.R10
        steps = interleave(steps, self._fetch_weights())
        return steps + self.store_tiles(base, [(tile, tile * TILE) for tile in range(4)])

    def _fetch_weights(self) -> list[Step]:
        """Fetch some of the weights that come after this panel's."""
        a = self.a
        return [
            *[partial(a.prefetch_far, Mem(Reg.RBX, line * LINE)) for line in range(AHEAD)],
            partial(a.add, Reg.RBX, AHEAD * LINE),
        ]

    def _epilogue(self) -> list[Step]:
        a = self.a
        steps: list[Step] = [
            partial(a.load, Zmm(index), Mem(Reg.R9, index * LINE)) for index in range(4)
        ]
        if self._layer.kind == "gelu":
            steps += [
                partial(a.load, register, Mem(Reg.R9, (4 + index) * LINE))
                for index, register in enumerate((_GAIN, _SHIFT))
            ]
        for row in range(WIDTH):
            steps += self._row(row)
        return interleave(steps, self._prefetches())

    def _prefetches(self) -> list[Step]:
        """Fetch what the next block's outputs go to, and what is added to them."""
        a, stride = self.a, self._layer.output_stride
        ahead = [(WIDTH + row) * stride for row in range(WIDTH)]
        steps: list[Step] = [partial(a.prefetchw, Mem(Reg.RCX, offset)) for offset in ahead]
        if self._layer.kind in ("cross", "residual"):
            steps += [partial(a.prefetch, Mem(Reg.R8, offset)) for offset in ahead]
        return steps

    def _row(self, row: int) -> list[Step]:
        a, layer = self.a, self._layer
        first = 16 + 4 * (row % 4)
        sums = [Zmm(first), Zmm(first + 1)]
        output = Mem(Reg.RCX, row * layer.output_stride)
        steps: list[Step] = []
        for half, vector in enumerate(sums):
            tile = 2 * (row // ROWS) + half
            stored = Mem(Reg.R11, tile * TILE + row % ROWS * LINE)
            if layer.source == "bf16":
                steps.append(partial(a.load, vector, stored))
            else:
                steps.append(partial(a.convert, "vcvtdq2ps", vector, stored))
            steps.append(partial(a.three, "vfmadd213ps", vector, Zmm(half), Zmm(2 + half)))
            if layer.kind in _RECTIFIED:
                steps.append(partial(a.three, "vmaxps", vector, vector, _ZERO))
            if layer.kind == "cross":
                steps += self._crossed(vector, row * layer.output_stride + half * LINE // 2, first)
        if layer.kind in ("bf16", "cross", "relu"):
            steps.append(partial(a.three, "vcvtne2ps2bf16", sums[0], sums[1], sums[0]))
            return [*steps, partial(a.store, output, sums[0])]
        if layer.kind in _NARROWED:
            for half, vector in enumerate(sums):
                place = Mem(Reg.RCX, row * layer.output_stride + half * LINE // 4)
                steps += [
                    partial(a.convert, "vcvtps2dq", vector, vector),
                    partial(a.narrow, _NARROWED[layer.kind], place, vector),
                ]
            return steps
        steps += [partial(a.two, "vcvtps2phx", vector, vector) for vector in sums]
        whole = sums[0]
        steps.append(partial(a.shuffle, "vinserti64x4", whole, whole, sums[1], 1))
        if layer.kind in ("half", "residual"):
            if layer.kind == "residual":
                residual = Mem(Reg.R8, row * layer.output_stride)
                steps.append(partial(a.three, "vaddph", whole, whole, residual))
            return [*steps, partial(a.store, output, whole)]
        size, value, rest = Zmm(first + 1), Zmm(first + 2), Zmm(first + 3)
        steps += [
            partial(a.three, "vpandd", size, whole, _MAGNITUDE),
            partial(a.three, "vminph", size, size, _LIMIT),
            partial(a.three, "vmaxph", whole, whole, _ZERO),
            partial(a.copy, value, _COEFFICIENTS[-1]),
            partial(a.three, "vsubph", rest, _LIMIT, size),
        ]
        for coefficient in reversed(_COEFFICIENTS[:-1]):
            steps.append(partial(a.three, "vfmadd213ph", value, size, coefficient))
        steps += [
            partial(a.three, "vmulph", size, size, rest),
            partial(a.three, "vmulph", rest, rest, rest),
            partial(a.three, "vmulph", size, size, rest),
            partial(a.three, "vfnmadd231ph", whole, size, value),
            partial(a.three, "vfmadd213ph", whole, _GAIN, _SHIFT),
            partial(a.two, "vcvtph2w", whole, whole),
            partial(a.narrow, "vpmovswb", output, whole),
        ]
        return steps

    def _crossed(self, vector: Zmm, place: int, first: int) -> list[Step]:
        """Multiply with the residual, and add what the output was."""
        a, steps = self.a, []
        factor, before = Zmm(first + 2), Zmm(first + 3)
        for value, base in ((factor, Reg.R8), (before, Reg.RCX)):
            steps.append(partial(a.two, "vpmovzxwd", value, Mem(base, place)))
            steps.append(partial(a.shift_left, value, value, 16))
        return [*steps, partial(a.three, "vfmadd213ps", vector, factor, before)]


@cache
def _routine(layer: Product) -> ProductRoutine:
    return ProductRoutine(layer)
