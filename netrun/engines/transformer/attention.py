"""Attention within each sequence of a stream, one head of one sequence after the other, for AMX.

Queries, keys and values are bfloat16, rows of one matrix; sums are float32. Queries come with the
factor ``log2(e) / sqrt(channels of a head)`` in them, values in units of the int8 output, so that::

    weights = 2 ** (queries x keys)        output = weights x values / sum of weights

Of every head, keys are first transposed and values interleaved into tiles. Then, for 16 queries at
a time: scores, their powers of two (bfloat16, rows of tiles) with their sums, and the output.
Nothing is subtracted from the scores: float32 and bfloat16 reach to 2^127, and scores are cut off
at 2^100, far above what a trained network has.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from netrun.engines.amx.assembler import Label, Mem, Reg, Tmm, Zmm
from netrun.engines.amx.routine import (
    LINE,
    ROWS,
    SHARE,
    TILE,
    Kernel,
    Routine,
    aligned,
    configuration,
)
from netrun.engines.transformer.instructions import Vectors
from netrun.engines.transformer.normalise import FOLDS

KEYS = 32
"""Keys of a step: as many bfloat16 as a tile's row holds."""
_ITEM = 32  # bytes of an item: offset of its queries, of its output, tokens, full steps of keys
_LIMIT = 100.0
# 2 ** x from 0 to 1, from x^3 on; within 8e-5 of it.
_POWER = (0.07802389, 0.22606794, 0.6958333, 0.99992523)
_AT_ONCE = 4  # rows of scores


@dataclass(frozen=True)
class Attention:
    """Attention of `heads` heads of `channels` channels each; strides are bytes between tokens.

    A token's row of the source has the queries of all heads, their keys and their values.
    """

    heads: int
    channels: int
    source_stride: int
    output_stride: int

    @property
    def fits(self) -> bool:
        """Whether tiles suit the channels of a head."""
        return self.channels in (32, 64)

    def make(self, longest: int, threads: int, openmp: ctypes.CDLL) -> AttentionKernel:
        """A kernel for sequences of up to `longest` tokens; raises OSError."""
        return AttentionKernel(self, longest, threads, openmp)


class AttentionKernel(Kernel):
    """`set_lengths` says where sequences are; memory behind the last has to be readable.

    `KEYS` tokens behind the last one are read, and have to be finite.
    """

    def __init__(self, layer: Attention, longest: int, threads: int, openmp: ctypes.CDLL) -> None:
        routine = _routine(layer, -(-longest // KEYS))
        self._layer, self._threads = layer, threads
        self._shares = np.zeros((threads, SHARE), np.uint64)
        scratch = [aligned(routine.scratch_bytes) for _ in range(threads)]
        self._shares[:, 2] = [memory.ctypes.data for memory in scratch]
        self._items = np.zeros((0, 4), np.uint64)
        empty = aligned(LINE), aligned(LINE).view(np.float32)
        super().__init__(routine, self._shares, *empty, openmp, tuple(scratch))

    def set_lengths(self, lengths: Sequence[int]) -> None:
        """The tokens of each sequence, which lie one behind the other."""
        layer = self._layer
        sizes = np.asarray(lengths, np.int64)
        starts = np.cumsum(sizes) - sizes
        heads = np.arange(layer.heads)
        items = np.empty((len(sizes), layer.heads, 4), np.uint64)
        items[:, :, 0] = starts[:, None] * layer.source_stride + heads * 2 * layer.channels
        items[:, :, 1] = starts[:, None] * layer.output_stride + heads * layer.channels
        items[:, :, 2] = sizes[:, None]
        items[:, :, 3] = (sizes[:, None] - 1) // KEYS
        self._items = items.reshape(-1, 4)
        work = np.cumsum(np.repeat(sizes * (sizes + 100), layer.heads))
        wanted = work[-1] * np.arange(1, self._threads) // self._threads
        bounds = [0, *np.searchsorted(work, wanted).tolist(), len(self._items)]
        for thread in range(self._threads):
            self._shares[thread, :2] = [
                self._items.ctypes.data + _ITEM * bound for bound in bounds[thread : thread + 2]
            ]


class AttentionRoutine(Routine):
    """Registers: RBX item and RBP end of the list, R15 scratch memory.

    R12 the head's queries, RSI the distance of tokens; R8 to R14, RAX and RCX count and point.
    """

    a: Vectors

    def __init__(self, layer: Attention, steps: int) -> None:
        super().__init__(LINE)
        self.a = Vectors()
        self._layer = layer
        self._depth = layer.channels // 32  # tiles of a query's channels
        self._wide = layer.channels // 16  # tiles of an output's channels
        self._step_keys = 2 * self._depth * TILE  # bytes of 32 keys
        self._step_values = self._wide * TILE
        self._keys = 0
        self._values = self._keys + steps * self._step_keys
        self._scores = self._values + steps * self._step_values
        self._weights = self._scores + steps * 2 * TILE
        self._sums = self._weights + steps * TILE
        self._out = self._sums + ROWS * LINE
        self.scratch_bytes = self._out + self._wide * TILE
        self._config = self.pool.add(configuration([(ROWS, LINE)] * 8))
        self._constants = self.pool.add(np.array([_LIMIT, *_POWER], np.float32))
        lane = np.arange(KEYS)
        masks = np.where(lane < np.arange(KEYS + 1)[:, None], np.uint32(0xFFFFFFFF), np.uint32(0))
        self._masks = self.pool.add(masks.astype(np.uint32))  # of 0 to 32 keys

    def work(self, end: Label) -> None:
        """All items of the share."""
        a, layer = self.a, self._layer
        item = Label()
        a.mov(Reg.RBX, Mem(Reg.RAX, 0))
        a.mov(Reg.RBP, Mem(Reg.RAX, 8))
        a.mov(Reg.R15, Mem(Reg.RAX, 16))
        a.cmp(Reg.RBX, Reg.RBP)
        a.jump_if("je", end)
        a.mov(Reg.RCX, self.argument("pool"))
        a.ldtilecfg(Mem(Reg.RCX, self._config))
        a.mov(Reg.RSI, layer.source_stride)
        a.bind(item)
        a.mov(Reg.R12, Mem(Reg.RBX, 0))
        a.add(Reg.R12, self.argument("source"))
        self._lay_keys()
        self._lay_values()
        self._queries()
        a.add(Reg.RBX, _ITEM)
        a.cmp(Reg.RBX, Reg.RBP)
        a.jump_if("jne", item)

    def _lay_keys(self) -> None:
        """Transpose the keys: a tile's row has two channels of each of 16 keys."""
        a, layer = self.a, self._layer
        again = Label()
        a.lea(Reg.R8, Mem(Reg.R12, 2 * layer.heads * layer.channels))
        a.mov(Reg.R9, Reg.R15)
        a.mov(Reg.RCX, Mem(Reg.RBX, 24))
        a.add(Reg.RCX, 1)
        a.add(Reg.RCX, Reg.RCX)
        a.bind(again)
        for depth in range(self._depth):
            rows = [Zmm(i) for i in range(16)]
            for i, row in enumerate(rows):
                a.load(row, Mem(Reg.R8, i * layer.source_stride + depth * LINE))
            for column, vector in enumerate(a.transpose()):
                a.store(Mem(Reg.R9, depth * TILE + column * LINE), vector)
        a.add(Reg.R8, ROWS * layer.source_stride)
        a.add(Reg.R9, self._depth * TILE)
        a.sub(Reg.RCX, 1)
        a.jump_if("jne", again)

    def _lay_values(self) -> None:
        """Interleave values of two keys; of 32 channels, a tile has 8i to 8i+3, or 8i+4 to 8i+7."""
        a, layer = self.a, self._layer
        again = Label()
        a.lea(Reg.R8, Mem(Reg.R12, 4 * layer.heads * layer.channels))
        a.lea(Reg.R9, Mem(Reg.R15, self._values))
        a.mov(Reg.RCX, Mem(Reg.RBX, 24))
        a.add(Reg.RCX, 1)
        a.bind(again)
        for pair in range(ROWS):
            for group in range(self._wide // 2):
                number = 4 * ((pair * 2 + group) % 8)
                one, other, low, high = (Zmm(number + i) for i in range(4))
                at = 2 * pair * layer.source_stride + group * LINE
                a.load(one, Mem(Reg.R8, at))
                a.load(other, Mem(Reg.R8, at + layer.source_stride))
                a.three("vpunpcklwd", low, one, other)
                a.three("vpunpckhwd", high, one, other)
                a.store(Mem(Reg.R9, 2 * group * TILE + pair * LINE), low)
                a.store(Mem(Reg.R9, (2 * group + 1) * TILE + pair * LINE), high)
        a.add(Reg.R8, KEYS * layer.source_stride)
        a.add(Reg.R9, self._step_values)
        a.sub(Reg.RCX, 1)
        a.jump_if("jne", again)

    def _queries(self) -> None:
        """All queries, 16 at a time; R11 the output, R14 queries left."""
        a, layer = self.a, self._layer
        again, some, full = Label(), Label(), Label()
        a.mov(Reg.RCX, self.argument("pool"))
        for index in range(1 + len(_POWER)):
            a.broadcast(Zmm(index), Mem(Reg.RCX, self._constants + 4 * index))
        a.mov(Reg.R11, Mem(Reg.RBX, 8))
        a.add(Reg.R11, self.argument("output"))
        a.mov(Reg.R14, Mem(Reg.RBX, 16))
        a.bind(again)
        self._make_scores()
        self._make_weights()
        self._make_outputs()
        a.mov(Reg.RCX, ROWS)
        a.cmp(Reg.R14, ROWS)
        a.jump_if("jb", some)
        a.jmp(full)
        a.bind(some)
        a.mov(Reg.RCX, Reg.R14)
        a.bind(full)
        a.sub(Reg.R14, Reg.RCX)
        self._write()
        a.add(Reg.R12, ROWS * layer.source_stride)
        a.cmp(Reg.R14, 0)
        a.jump_if("jne", again)

    def _make_scores(self) -> None:
        a = self.a
        again = Label()
        for depth in range(self._depth):
            a.tileloadd(Tmm(4 + depth), Mem(Reg.R12, depth * LINE, Reg.RSI))
        a.mov(Reg.R8, Reg.R15)
        a.lea(Reg.R9, Mem(Reg.R15, self._scores))
        a.mov(Reg.RCX, Mem(Reg.RBX, 24))
        a.add(Reg.RCX, 1)
        a.bind(again)
        for half in range(2):
            a.tilezero(Tmm(half))
            for depth in range(self._depth):
                keys = Tmm(6 + depth % 2)
                a.tileloadd(keys, Mem(Reg.R8, (half * self._depth + depth) * TILE, Reg.RDX))
                a.product_bf16(Tmm(half), Tmm(4 + depth), keys)
            a.tilestored(Mem(Reg.R9, half * TILE, Reg.RDX), Tmm(half))
        a.add(Reg.R8, self._step_keys)
        a.add(Reg.R9, 2 * TILE)
        a.sub(Reg.RCX, 1)
        a.jump_if("jne", again)

    def _make_weights(self) -> None:
        """Powers of two of the scores, and the reciprocals of their sums."""
        a = self.a
        sums = [Zmm(24 + row) for row in range(_AT_ONCE)]
        for first in range(0, ROWS, _AT_ONCE):
            again, last = Label(), Label()
            a.lea(Reg.R8, Mem(Reg.R15, self._scores + first * LINE))
            a.lea(Reg.R9, Mem(Reg.R15, self._weights + first * LINE))
            for total in sums:
                a.vector("vpxord", total, total, total)
            a.mov(Reg.RCX, Mem(Reg.RBX, 24))
            a.cmp(Reg.RCX, 0)
            a.jump_if("je", last)
            a.bind(again)
            self._powers(sums, masked=False)
            a.add(Reg.R8, 2 * TILE)
            a.add(Reg.R9, TILE)
            a.sub(Reg.RCX, 1)
            a.jump_if("jne", again)
            a.bind(last)
            # The last step has 1 to 32 keys; what stands behind them counts nothing.
            a.mov(Reg.RAX, Mem(Reg.RBX, 24))
            a.shl(Reg.RAX, 5)
            a.mov(Reg.RCX, Mem(Reg.RBX, 16))
            a.sub(Reg.RCX, Reg.RAX)
            a.shl(Reg.RCX, 7)
            a.add(Reg.RCX, self.argument("pool"))
            self._powers(sums, masked=True)
            self._reciprocals(sums, first)

    def _powers(self, sums: Sequence[Zmm], masked: bool) -> None:
        """Scores of some rows at R8, 32 keys each, to weights at R9."""
        a = self.a
        limit = Zmm(0)
        cubic, square, linear, one = (Zmm(1 + index) for index in range(4))
        pairs = [
            (Zmm(6 + 4 * row + 2 * half), Zmm(7 + 4 * row + 2 * half), row, half)
            for row in range(_AT_ONCE)
            for half in range(2)
        ]
        for first in range(0, len(pairs), 4):
            some = list(zip(pairs[first : first + 4], [Zmm(28 + i) for i in range(4)], strict=True))
            for (value, _, row, half), _ in some:
                a.vector("vminps", value, limit, Mem(Reg.R8, half * TILE + row * LINE))
            for (value, power, _, _), fraction in some:
                a.fraction(fraction, value)
                a.copy(power, cubic)
            for coefficient in (square, linear, one):
                for (_, power, _, _), fraction in some:
                    a.three("vfmadd213ps", power, fraction, coefficient)
            for (value, power, _, _), _ in some:
                a.three("vscalefps", power, power, value)
            if masked:
                for (_, power, _, half), _ in some:
                    a.three("vpandd", power, power, Mem(Reg.RCX, self._masks + half * LINE))
            for (_, power, row, _), _ in some:
                a.vector("vaddps", sums[row], sums[row], power)
        for row in range(_AT_ONCE):
            low, high = Zmm(7 + 4 * row), Zmm(9 + 4 * row)
            a.three("vcvtne2ps2bf16", low, high, low)
            a.store(Mem(Reg.R9, row * LINE), low)

    def _reciprocals(self, sums: Sequence[Zmm], first: int) -> None:
        a = self.a
        others = [Zmm(28 + row) for row in range(len(sums))]
        for name, order in FOLDS:
            for total, other in zip(sums, others, strict=True):
                a.shuffle(name, other, total, total, order)
            for total, other in zip(sums, others, strict=True):
                a.vector("vaddps", total, total, other)
        for row, total in enumerate(sums):
            a.two("vrcp14ps", total, total)
            a.store(Mem(Reg.R15, self._sums + (first + row) * LINE), total)

    def _make_outputs(self) -> None:
        a = self.a
        again = Label()
        a.lea(Reg.R8, Mem(Reg.R15, self._weights))
        a.lea(Reg.R9, Mem(Reg.R15, self._values))
        for tile in range(self._wide):
            a.tilezero(Tmm(tile))
        a.mov(Reg.RCX, Mem(Reg.RBX, 24))
        a.add(Reg.RCX, 1)
        a.bind(again)
        a.tileloadd(Tmm(4), Mem(Reg.R8, 0, Reg.RDX))
        for tile in range(self._wide):
            values = Tmm(5 + tile % 3)
            a.tileloadd(values, Mem(Reg.R9, tile * TILE, Reg.RDX))
            a.product_bf16(Tmm(tile), Tmm(4), values)
        a.add(Reg.R8, TILE)
        a.add(Reg.R9, self._step_values)
        a.sub(Reg.RCX, 1)
        a.jump_if("jne", again)
        for tile in range(self._wide):
            a.tilestored(Mem(Reg.R15, self._out + tile * TILE, Reg.RDX), Tmm(tile))

    def _write(self) -> None:
        """RCX rows of the output, to R11."""
        a = self.a
        again = Label()
        a.lea(Reg.R8, Mem(Reg.R15, self._out))
        a.lea(Reg.R9, Mem(Reg.R15, self._sums))
        a.bind(again)
        a.load(Zmm(6), Mem(Reg.R9))
        for group in range(self._wide // 2):
            low, high = Zmm(7 + 2 * group), Zmm(8 + 2 * group)
            a.vector("vmulps", low, Zmm(6), Mem(Reg.R8, 2 * group * TILE))
            a.vector("vmulps", high, Zmm(6), Mem(Reg.R8, (2 * group + 1) * TILE))
            a.convert("vcvtps2dq", low, low)
            a.convert("vcvtps2dq", high, high)
            a.vector("vpackssdw", low, low, high)
            a.narrow("vpmovswb", Mem(Reg.R11, 32 * group), low)
        a.add(Reg.R8, LINE)
        a.add(Reg.R9, LINE)
        a.add(Reg.R11, self._layer.output_stride)
        a.sub(Reg.RCX, 1)
        a.jump_if("jne", again)


@cache
def _routine(layer: Attention, steps: int) -> AttentionRoutine:
    return AttentionRoutine(layer, steps)
