"""Instance norms of int8 volumes, channels last: AVX-512 code written when an instance starts.

NumPy computes the same, many times slower, where the processor has no AVX-512 or the number of
channels does not divide by 16.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int64, c_void_p
from functools import cache, lru_cache
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.processors import processor_flags
from netrun.engines.amx.assembler import Assembler, Executable, Label, Mem, Reg, Zmm

Floats = NDArray[np.float32]
LANES = 16
"""Channels of a vector, which become 32 bits wide each."""
BLOCKS = 8
"""Vectors of a row that are kept in registers together."""
ROWS = 4096
"""At once: sums of int8 are exact in float32 then, and their squares' nearly."""
_MAP_0F, _MAP_0F38, _NONE, _66, _F3 = 1, 2, 0, 1, 2


class _Code(Assembler):
    """What these kernels need beyond the products' instructions."""

    def widen(self, target: Zmm, source: Mem) -> None:
        """``vpmovsxbd``: 16 int8 to int32."""
        self._evex(_MAP_0F38, _66, 0, 0x21, target.number, 0, source, unit=LANES)

    def narrow(self, target: Mem, source: Zmm, unsigned: bool) -> None:
        """``vpmovusdb`` or ``vpmovsdb``: 16 int32 to 8 bits, saturated."""
        opcode = 0x11 if unsigned else 0x21
        self._evex(_MAP_0F38, _F3, 0, opcode, source.number, 0, target, unit=LANES)

    def scale(self, target: Zmm, factor: Zmm, shift: Zmm) -> None:
        """``vfmadd213ps``: `target` = `target` x `factor` + `shift`."""
        self._evex(_MAP_0F38, _66, 0, 0xA8, target.number, factor.number, shift)

    def larger(self, target: Zmm, one: Zmm, other: Zmm) -> None:
        """``vmaxps``."""
        self._evex(_MAP_0F, _NONE, 0, 0x5F, target.number, one.number, other)


class _Made:
    """Machine code as a function of addresses and numbers; calls leave Python's lock."""

    def __init__(self, code: bytes, *kinds: Any) -> None:
        self._executable = Executable(code)
        self.call: Callable[..., None] = ctypes.CFUNCTYPE(None, *kinds)(self._executable.address)


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether this processor has the instructions."""
    return "avx512bw" in (processor_flags() or ())


def moments(volume: NDArray[np.int8]) -> NDArray[np.float64]:
    """Sums and sums of squares [2, channels] of `volume` [voxels, channels], int8 and dense."""
    voxels, channels = volume.shape
    rows, width = _folded(voxels, channels)
    if width % LANES or not available():
        parts = [volume[at : at + ROWS].astype(np.float64) for at in range(0, voxels, ROWS)]
        return np.array([sum(x.sum(0) for x in parts), sum((x * x).sum(0) for x in parts)])
    made = _moments(width)
    total, here = np.zeros((2, width)), np.empty((2, width), np.float32)
    for first in range(0, rows, ROWS):
        start, count = volume.ctypes.data + first * width, min(ROWS, rows - first)
        made.call(start, count, here[0].ctypes.data, here[1].ctypes.data)
        total += here
    found: NDArray[np.float64] = total.reshape(2, -1, channels).sum(1)
    return found


def normalise(
    volume: NDArray[np.int8], factors: Floats, out: NDArray[Any], slope: float | None
) -> None:
    """Write `volume` x `factors[0]` + `factors[1]`, rounded and saturated, to `out`.

    `volume` is dense [voxels, channels]; `factors` [2, channels]; `out` [voxels, channels], uint8
    or int8, its channels neighbours. What is below 0 is multiplied by `slope` unless that is None.
    """
    voxels, channels = volume.shape
    step = out.strides[0]
    unsigned = out.dtype == np.uint8
    rows, width = _folded(voxels, channels) if step == channels else (voxels, channels)
    if width % LANES or not available():
        _normalise_plainly(volume, factors, out, slope)
        return
    repeated = np.ascontiguousarray(np.tile(factors, width // channels))
    made = _normalise(width, step * (width // channels), unsigned, slope)
    made.call(volume.ctypes.data, rows, out.ctypes.data, repeated.ctypes.data)


def _normalise_plainly(
    volume: NDArray[np.int8], factors: Floats, out: NDArray[Any], slope: float | None
) -> None:
    limits = np.iinfo(out.dtype)
    for first in range(0, len(volume), ROWS):
        rows = slice(first, first + ROWS)
        real = volume[rows] * factors[0] + factors[1]
        if slope is not None:
            real = np.maximum(real, real * np.float32(slope))
        out[rows] = np.clip(np.rint(real), limits.min, limits.max)


def _folded(voxels: int, channels: int) -> tuple[int, int]:
    """Rows and width of the same bytes, as wide as registers hold."""
    most = max(LANES * BLOCKS // channels, 1)
    several = gcd(voxels, most)
    return voxels // several, channels * several


def _groups(width: int) -> list[tuple[int, int]]:
    """First byte and number of vectors of what registers hold of a row at once."""
    vectors = width // LANES
    return [(at * LANES, min(BLOCKS, vectors - at)) for at in range(0, vectors, BLOCKS)]


@cache
def _moments(width: int) -> _Made:
    """f(source, rows, sums, squares), rows of `width` bytes."""
    code = _Code()
    for offset, count in _groups(width):
        sums = [Zmm(number) for number in range(count)]
        squares = [Zmm(BLOCKS + number) for number in range(count)]
        for each in (*sums, *squares):
            code.vector("vpxord", each, each, each)
        code.mov(Reg.R8, Reg.RDI)
        code.add(Reg.R8, offset)
        code.mov(Reg.R9, Reg.RSI)
        loop = Label()
        code.bind(loop)
        for number in range(count):
            value = Zmm(2 * BLOCKS + number)
            code.widen(value, Mem(Reg.R8, LANES * number))
            code.convert("vcvtdq2ps", value, value)
            code.vector("vaddps", sums[number], sums[number], value)
            code.vector("vfmadd231ps", squares[number], value, value)
        code.add(Reg.R8, width)
        code.sub(Reg.R9, 1)
        code.jump_if("jne", loop)
        for number in range(count):
            place = 4 * (offset + LANES * number)
            code.store(Mem(Reg.RDX, place), sums[number])
            code.store(Mem(Reg.RCX, place), squares[number])
    code.vzeroupper()
    code.ret()
    return _Made(code.code(), c_void_p, c_int64, c_void_p, c_void_p)


@cache
def _normalise(width: int, step: int, unsigned: bool, slope: float | None) -> _Made:
    """f(source, rows, target, factors): rows of `width` bytes, `step` apart in the target."""
    code = _Code()
    zero, sloping = Zmm(31), Zmm(30)
    code.vector("vpxord", zero, zero, zero)
    if slope:
        # The number itself stands on the stack, below what a call may use.
        bits = int(np.float32(slope).view(np.int32))
        code.mov(Reg.RAX, bits)
        code.mov(Mem(Reg.RSP, -64), Reg.RAX)
        code.broadcast(sloping, Mem(Reg.RSP, -64))
    for offset, count in _groups(width):
        factors = [Zmm(number) for number in range(count)]
        shifts = [Zmm(BLOCKS + number) for number in range(count)]
        for number in range(count):
            place = 4 * (offset + LANES * number)
            code.load(factors[number], Mem(Reg.RCX, place))
            code.load(shifts[number], Mem(Reg.RCX, 4 * width + place))
        code.mov(Reg.R8, Reg.RDI)
        code.add(Reg.R8, offset)
        code.mov(Reg.R10, Reg.RDX)
        code.add(Reg.R10, offset)
        code.mov(Reg.R9, Reg.RSI)
        loop = Label()
        code.bind(loop)
        for number in range(count):
            value, below = Zmm(16 + number % 7), Zmm(23 + number % 7)
            code.widen(value, Mem(Reg.R8, LANES * number))
            code.convert("vcvtdq2ps", value, value)
            code.scale(value, factors[number], shifts[number])
            if slope:
                code.vector("vmulps", below, value, sloping)
                code.larger(value, value, below)
            code.convert("vcvtps2dq", value, value)
            if unsigned or slope == 0:
                code.vector("vpmaxsd", value, value, zero)
            code.narrow(Mem(Reg.R10, LANES * number), value, unsigned)
        code.add(Reg.R8, width)
        code.add(Reg.R10, step)
        code.sub(Reg.R9, 1)
        code.jump_if("jne", loop)
    code.vzeroupper()
    code.ret()
    return _Made(code.code(), c_void_p, c_int64, c_void_p, c_void_p)
