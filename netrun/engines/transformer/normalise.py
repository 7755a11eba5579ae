"""Layer normalisation of tokens, and their int8 form for the next product.

``normal = (x - mean) / sqrt(variance + eps)``; from it ``output = normal * gamma + beta`` in
float16, which a later layer adds its result to, and ``narrow = normal * gain + shift`` in int8,
which the next product reads. Statistics are float32, the rest is float16, 32 channels at a time.
While one token is written, the next one's statistics are taken.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Label, Mem, Reg, Zmm
from netrun.engines.amx.routine import LINE, SHARE, Kernel, Routine, Step, aligned, interleave
from netrun.engines.transformer.instructions import Vectors

WIDTH = 32
"""Channels of a vector of float16."""
MOST_CHANNELS = 4096
"""The code is unrolled over them."""
_PARAMETERS = 4 * LINE  # bytes of 32 channels: gamma, beta, gain, shift
_SUM, _SQUARES = (Zmm(0), Zmm(1)), (Zmm(2), Zmm(3))
FOLDS = (("vshufi32x4", 0x4E), ("vshufi32x4", 0xB1), ("vshufps", 0x4E), ("vshufps", 0xB1))
"""Shuffles that, each followed by an addition, leave the sum of a vector in all of its places."""
_COUNT, _EPS, _ONE = Zmm(4), Zmm(5), Zmm(6)
_FACTOR, _OFFSET = Zmm(7), Zmm(8)


@dataclass(frozen=True)
class Normalise:
    """Normalisation of `channels`; strides are bytes from a token to the next."""

    channels: int
    eps: float
    stride: int
    """Of source and output."""
    narrow_stride: int

    @property
    def fits(self) -> bool:
        """Whether vectors suit its size."""
        return self.channels % WIDTH == 0 and self.channels <= MOST_CHANNELS

    def pack(
        self,
        gamma: NDArray[np.float32],
        beta: NDArray[np.float32],
        gain: NDArray[np.float32],
        shift: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        """Parameters of the channels as the code reads them."""
        parts = np.stack([gamma, beta, gain, shift]).astype(np.float16)
        rows = parts.reshape(4, -1, WIDTH).transpose(1, 0, 2)
        return np.ascontiguousarray(rows).view(np.uint8).reshape(-1)

    def unpack(self, packed: NDArray[np.uint8]) -> NDArray[np.float32]:
        """gamma, beta, gain and shift, from what `pack` made of them."""
        rows = packed.view(np.float16).reshape(-1, 4, WIDTH).transpose(1, 0, 2)
        return rows.reshape(4, -1).astype(np.float32)

    def make(
        self, threads: int, parameters: NDArray[np.uint8], openmp: ctypes.CDLL
    ) -> NormaliseKernel:
        """A kernel; raises OSError where memory cannot be made executable."""
        return NormaliseKernel(self, threads, parameters, openmp)


class NormaliseKernel(Kernel):
    """`arguments.residual` is where the int8 form goes."""

    def __init__(
        self,
        layer: Normalise,
        threads: int,
        parameters: NDArray[np.uint8],
        openmp: ctypes.CDLL,
    ) -> None:
        self._threads = threads
        self._shares = np.zeros((threads, SHARE), np.uint64)
        factors = aligned(LINE).view(np.float32)
        super().__init__(_routine(layer), self._shares, parameters, factors, openmp, ())

    def set_tokens(self, tokens: int) -> None:
        """How many tokens calls from now on have."""
        for thread in range(self._threads):
            begin = tokens * thread // self._threads
            self._shares[thread, :2] = begin, tokens * (thread + 1) // self._threads - begin


class NormaliseRoutine(Routine):
    """Registers: R12 the token whose statistics are taken, R13 the one that is written.

    RCX output, R8 int8 form, R9 parameters, R15 tokens left.
    """

    a: Vectors

    def __init__(self, layer: Normalise) -> None:
        super().__init__(LINE)
        self.a = Vectors()
        self._layer = layer
        self._constants = self.pool.add(
            np.array([1.0 / layer.channels, layer.eps, 1.0], np.float32)
        )

    def work(self, end: Label) -> None:
        """All tokens of the share."""
        a, layer = self.a, self._layer
        loop, finish = Label(), Label()
        a.mov(Reg.RBX, Mem(Reg.RAX, 0))
        a.mov(Reg.R15, Mem(Reg.RAX, 8))
        a.cmp(Reg.R15, 0)
        a.jump_if("je", end)
        a.mov(Reg.R10, self.argument("pool"))
        for index, register in enumerate((_COUNT, _EPS, _ONE)):
            a.broadcast(register, Mem(Reg.R10, self._constants + 4 * index))
        a.mov(Reg.R9, self.argument("weights"))
        a.multiply(Reg.R10, Reg.RBX, layer.stride)
        a.mov(Reg.R12, self.argument("source"))
        a.add(Reg.R12, Reg.R10)
        a.mov(Reg.R13, Reg.R12)
        a.mov(Reg.RCX, self.argument("output"))
        a.add(Reg.RCX, Reg.R10)
        a.multiply(Reg.R8, Reg.RBX, layer.narrow_stride)
        a.add(Reg.R8, self.argument("residual"))
        self.emit(self._sums())
        self._statistics()
        a.sub(Reg.R15, 1)
        a.jump_if("je", finish)
        a.align(LINE)
        a.bind(loop)
        self.emit(interleave(self._write(), self._sums()))
        self._statistics()
        a.add(Reg.RCX, layer.stride)
        a.add(Reg.R8, layer.narrow_stride)
        a.sub(Reg.R15, 1)
        a.jump_if("jne", loop)
        a.bind(finish)
        self.emit(self._write())

    def _sums(self) -> list[Step]:
        """Sums and sums of squares of the token at R12."""
        a = self.a
        steps: list[Step] = [
            partial(a.vector, "vpxord", register, register, register)
            for register in (*_SUM, *_SQUARES)
        ]
        for index in range(self._layer.channels // 16):
            value = Zmm(24 + index % 8)
            steps += [
                partial(a.two, "vcvtph2psx", value, Mem(Reg.R12, 32 * index)),
                partial(a.vector, "vaddps", _SUM[index % 2], _SUM[index % 2], value),
                partial(a.vector, "vfmadd231ps", _SQUARES[index % 2], value, value),
            ]
        return steps

    def _statistics(self) -> None:
        """Mean and spread of the token at R12, as a factor and an offset; on to the next one."""
        a = self.a
        for pair in (_SUM, _SQUARES):
            a.vector("vaddps", pair[0], pair[0], pair[1])
        for name, order in FOLDS:
            for pair in (_SUM, _SQUARES):
                a.shuffle(name, pair[1], pair[0], pair[0], order)
                a.vector("vaddps", pair[0], pair[0], pair[1])
        mean, variance = _SUM[0], _SQUARES[0]
        a.vector("vmulps", mean, mean, _COUNT)
        a.three("vfmadd213ps", variance, _COUNT, _EPS)
        a.three("vfnmadd231ps", variance, mean, mean)
        a.three("vmaxps", variance, variance, _EPS)
        a.two("vsqrtps", variance, variance)
        a.three("vdivps", variance, _ONE, variance)
        a.vector("vpxord", _OFFSET, _OFFSET, _OFFSET)
        a.three("vfnmadd231ps", _OFFSET, mean, variance)
        for register, source in ((_FACTOR, variance), (_OFFSET, _OFFSET)):
            a.two("vcvtps2phx", register, source)
            a.shuffle("vinserti64x4", register, register, register, 1)
        a.mov(Reg.R13, Reg.R12)
        a.add(Reg.R12, self._layer.stride)

    def _write(self) -> list[Step]:
        """The token at R13, normalised."""
        a = self.a
        steps: list[Step] = []
        for index in range(self._layer.channels // WIDTH):
            first = 9 + 3 * (index % 5)
            value, wide, narrow = Zmm(first), Zmm(first + 1), Zmm(first + 2)
            at = index * _PARAMETERS
            steps += [
                partial(a.load, value, Mem(Reg.R13, 2 * WIDTH * index)),
                partial(a.three, "vfmadd213ph", value, _FACTOR, _OFFSET),
                partial(a.load, wide, Mem(Reg.R9, at)),
                partial(a.load, narrow, Mem(Reg.R9, at + 2 * LINE)),
                partial(a.three, "vfmadd213ph", wide, value, Mem(Reg.R9, at + LINE)),
                partial(a.three, "vfmadd213ph", narrow, value, Mem(Reg.R9, at + 3 * LINE)),
                partial(a.store, Mem(Reg.RCX, 2 * WIDTH * index), wide),
                partial(a.two, "vcvtph2w", narrow, narrow),
                partial(a.narrow, "vpmovswb", Mem(Reg.R8, WIDTH * index), narrow),
            ]
        return steps


@cache
def _routine(layer: Normalise) -> NormaliseRoutine:
    return NormaliseRoutine(layer)
