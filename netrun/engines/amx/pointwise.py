"""A 1x1 convolution as machine code: AMX products with the epilogue of the block before.

A convolution of this kind is a product of matrices, rows (pixels of all samples) x channels times
channels x output channels. A block is up to 16 rows by 64 output channels, four tiles of sums::

      source             weights (4 tiles of 16 columns)         sums
    k 0 .. 63          +--------+--------+--------+--------+
   +----------+        |  B 0   |  B 1   |  B 2   |  B 3   |
   | 16 rows  |   x    | 16x16  |        |        |        |  +=  C 0, C 1, C 2, C 3
   |   of A   |        | quads  |        |        |        |      16 x 16 int32 each
   +----------+        +--------+--------+--------+--------+

Where channels are few, the time goes into what follows: scaling, bias, residual, rounding. So the
tiles' products of one block run between the vector instructions of the block before, whose sums lie
in one of two scratch areas of 4 KiB on the stack::

    products 0 | products 1, epilogue 0 | products 2, epilogue 1 | ... | epilogue n

Output channels are dealt to the columns of the four tiles such that packing four vectors of int32
into one of bytes (vpackssdw, vpackuswb: within 128 bits each) gives them in their order. Column c
of tile j is channel 16 (c / 4) + 4 j + c % 4 of the 64::

    tile 0   0  1  2  3 | 16 17 18 19 | 32 33 34 35 | 48 49 50 51
    tile 1   4  5  6  7 | 20 21 22 23 | 36 37 38 39 | 52 53 54 55
    tile 2   8  9 10 11 | 24 25 26 27 | 40 41 42 43 | 56 57 58 59
    tile 3  12 13 14 15 | 28 29 30 31 | 44 45 46 47 | 60 61 62 63
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Assembler, Executable, Label, Mem, Reg, Tmm, Zmm

ROWS, COLUMNS, DEPTH = 16, 64, 64  # a block's rows and output channels; bytes of a tile's row
TILES = 4
Step = Callable[[], None]


@dataclass(frozen=True)
class Pointwise:
    """What a kernel computes: ``output = clamp(source x weights * scale + bias + residual)``.

    Types are ``u8`` or ``s8``. `residual` is None or the residual's type; it counts
    `residual_scale` times. `bound` is an upper bound of an activation whose lower one is 0, or
    None. A sample has `height` x `width` outputs, `stride` source pixels apart.
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
    bound: float | None = None

FUSED = False
ORDER = "n"
PREFETCH = True

class Arguments(ctypes.Structure):
    """What the code reads when it is called; the first three may be changed between calls."""

    _fields_ = [
        ("source", ctypes.c_uint64),
        ("residual", ctypes.c_uint64),
        ("output", ctypes.c_uint64),
        ("weights", ctypes.c_uint64),
        ("constants", ctypes.c_uint64),
        ("pool", ctypes.c_uint64),
        ("thread_number", ctypes.c_uint64),
        ("shares", ctypes.c_uint64),
    ]


def at(name: str) -> Mem:
    return Mem(Reg.RDI, getattr(Arguments, name).offset)


def depth(channels: int) -> int:
    return min(channels, DEPTH)


def channel_order(out_channels: int) -> NDArray[np.int64]:
    """(blocks, tiles, columns): which output channel each column is."""
    block, tile, column = np.ogrid[: out_channels // COLUMNS, :TILES, :16]
    return block * COLUMNS + 16 * (column // 4) + 4 * tile + column % 4


def pack(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Weights (out channels, channels) as the tiles read them."""
    out_channels, channels = weights.shape
    kt = depth(channels)
    w = weights[channel_order(out_channels)]  # block, tile, column, channel
    w = w.reshape(-1, TILES, 16, channels // kt, kt // 4, 4)
    return np.ascontiguousarray(w.transpose(0, 3, 1, 4, 2, 5)).view(np.uint8).reshape(-1)


def pack_constants(scales, bias):
    order = channel_order(len(scales))
    return np.ascontiguousarray(np.stack([scales[order], bias[order]], 1).astype(np.float32)).reshape(-1)


MASK, FIRST = 8, 14


class _Writer:
    def __init__(self, shape: Pointwise, rows: int) -> None:
        self.a = Assembler()
        self.shape, self.rows = shape, rows
        self.kt = depth(shape.channels)
        self.ksteps = shape.channels // self.kt
        self.tile = self.kt * 16
        self.block_bytes = shape.channels * COLUMNS

    def tiles(self) -> list[Step]:
        a = self.a
        steps: list[Step] = [lambda j=j: a.tilezero(Tmm(j)) for j in range(TILES)]
        name = "tdpbusd" if self.shape.source == "u8" else "tdpbssd"
        for k in range(self.ksteps):
            A = Tmm(4 + k % 2)
            steps.append(lambda k=k, A=A: a.tileloadd(A, Mem(Reg.R12, k * self.kt, Reg.RSI)))
            for j in range(TILES):
                B = Tmm(6 + j % 2)
                steps.append(lambda k=k, j=j, B=B: a.tileloadd(B, Mem(Reg.R13, (k * TILES + j) * self.tile, Reg.RDX)))
                steps.append(lambda j=j, A=A, B=B: a.tile_product(name, Tmm(j), A, B))
        steps += [lambda j=j: a.tilestored(Mem(Reg.R10, j * 1024, Reg.RDX), Tmm(j)) for j in range(TILES)]
        return steps

    def row(self, r: int, which: int = 0) -> Iterator[Step]:
        a, s = self.a, self.shape
        base = FIRST + 9 * (which % 2)
        res = Zmm(base + 8)
        off = r * s.out_channels
        if s.residual is not None:
            yield lambda: a.load(res, Mem(Reg.R8, off))
        for j in range(TILES):
            acc, t = Zmm(base + j), Zmm(base + 4 + j)
            yield lambda j=j, acc=acc: a.convert("vcvtdq2ps", acc, Mem(Reg.R11, j * 1024 + r * 64))
            if FUSED:
                yield lambda j=j, acc=acc: a.vector("vfmadd213ps", acc, Zmm(j), Zmm(4 + j))
            else:
                yield lambda j=j, acc=acc: a.vector("vmulps", acc, acc, Zmm(j))
                yield lambda j=j, acc=acc: a.vector("vaddps", acc, acc, Zmm(4 + j))
            if s.residual is not None:
                yield lambda j=j, t=t: a.vector("vpshufb", t, res, Zmm(MASK + j))
                yield lambda t=t: a.convert("vcvtdq2ps", t, t)
                yield lambda acc=acc, t=t: a.vector("vfmadd231ps", acc, t, Zmm(12))
            if s.bound is not None:
                yield lambda acc=acc: a.vector("vminps", acc, acc, Zmm(13))
            yield lambda acc=acc: a.convert("vcvtps2dq", acc, acc)
        b = [Zmm(base + j) for j in range(TILES)]
        yield lambda: a.vector("vpackssdw", b[0], b[0], b[1])
        yield lambda: a.vector("vpackssdw", b[2], b[2], b[3])
        yield lambda: a.vector("vpackuswb" if s.output == "u8" else "vpacksswb", b[0], b[0], b[2])
        yield lambda: a.store(Mem(Reg.RCX, off), b[0])

    def epilogue(self) -> list[Step]:
        return [step for r in range(self.rows) for step in self.row(r, r)]

    def load_constants(self) -> None:
        for j in range(2 * TILES):
            self.a.load(Zmm(j), Mem(Reg.R9, j * 64))

    def outputs(self, entry: Reg) -> None:
        """Point RCX, R8, R9 to output, residual and constants of the block at `entry`."""
        a = self.a
        a.mov(Reg.RCX, Mem(entry, 8))
        a.add(Reg.RCX, Reg.R14)
        if self.shape.residual is not None:
            a.mov(Reg.R8, Reg.RCX)
            a.add(Reg.R8, at("residual"))
        a.add(Reg.RCX, at("output"))
        a.mov(Reg.R9, Reg.R14)
        a.shl(Reg.R9, 3)
        a.add(Reg.R9, at("constants"))

    def prefetches(self) -> list[Step]:
        a, s = self.a, self.shape
        if not PREFETCH: return []
        def start():
            a.mov(Reg.RAX, Mem(Reg.RBX, 8))
            a.add(Reg.RAX, Reg.R14)
            a.add(Reg.RAX, at("residual" if s.residual else "output"))
        return [start] + [lambda r=r: (a.prefetch if s.residual else a.prefetchw)(Mem(Reg.RAX, r * s.out_channels)) for r in range(self.rows)]

    def source(self, entry: Reg) -> None:
        self.a.mov(Reg.R12, Mem(entry, 0))
        self.a.add(Reg.R12, at("source"))

    def write(self) -> bytes:
        a, s = self.a, self.shape
        saved = (Reg.RBX, Reg.RBP, Reg.R12, Reg.R13, Reg.R14, Reg.R15)
        for r in saved:
            a.push(r)
        a.mov(Reg.RBP, Reg.RSP)
        a.sub(Reg.RSP, 8192 + 64)
        a.and_(Reg.RSP, -64)
        a.mov(Mem(Reg.RSP, 8192), Reg.RBP)
        a.mov(Mem(Reg.RSP, 8200), Reg.RDI)
        a.mov(Reg.RCX, at("thread_number"))
        a.mov(Reg.RAX, 0)
        single, done, finish, loop, advance, tail, tail_loop, row_loop, more = (Label() for _ in range(9))
        a.cmp(Reg.RCX, 0)
        a.jump_if("je", single)
        a.call(Reg.RCX)
        a.bind(single)
        a.mov(Reg.RDI, Mem(Reg.RSP, 8200))
        a.shl(Reg.RAX, 32)  # what stands above an int is undefined
        a.shr(Reg.RAX, 27)  # and a share takes 32 bytes
        # share: 4 words
        self.share()
        a.mov(Reg.RDX, at("pool"))
        a.ldtilecfg(Mem(Reg.RDX))
        for j in range(TILES):
            a.load(Zmm(MASK + j), Mem(Reg.RDX, 64 + 64 * j))
        a.broadcast(Zmm(12), Mem(Reg.RDX, 320))
        a.broadcast(Zmm(13), Mem(Reg.RDX, 324))
        a.mov(Reg.RDX, 64)
        a.mov(Reg.RSI, s.stride * s.channels)
        a.mov(Reg.R10, Reg.RSP)
        a.lea(Reg.R11, Mem(Reg.RSP, 4096))
        a.mov(Reg.R13, at("weights"))
        a.mov(Reg.R14, 0)
        a.cmp(Reg.RBX, Reg.RBP)
        a.jump_if("je", tail)
        self.source(Reg.RBX)
        for step in self.tiles():
            step()
        a.jmp(advance)
        a.align(64)
        a.bind(loop)
        self.load_constants()
        for step in merge(merge(self.epilogue(), self.prefetches()), self.tiles()):
            step()
        a.bind(advance)
        self.outputs(Reg.RBX)
        a.xchg(Reg.R10, Reg.R11)
        if ORDER == "n":
            a.add(Reg.RBX, 16)
            a.cmp(Reg.RBX, Reg.RBP)
            a.jump_if("jne", more)
            a.mov(Reg.RBX, Reg.R15)
            a.add(Reg.R13, self.block_bytes)
            a.add(Reg.R14, COLUMNS)
            a.cmp(Reg.R14, s.out_channels)
            a.jump_if("je", finish)
        else:
            a.add(Reg.R13, self.block_bytes)
            a.add(Reg.R14, COLUMNS)
            a.cmp(Reg.R14, s.out_channels)
            a.jump_if("jne", more)
            a.mov(Reg.R13, at("weights"))
            a.mov(Reg.R14, 0)
            a.add(Reg.RBX, 16)
            a.cmp(Reg.RBX, Reg.RBP)
            a.jump_if("je", finish)
        a.bind(more)
        self.source(Reg.RBX)
        a.jmp(loop)
        a.bind(finish)
        self.load_constants()
        for step in self.epilogue():
            step()
        a.bind(tail)
        a.mov(Reg.RBX, Mem(Reg.RSP, 8208))
        a.cmp(Reg.RBX, 0)
        a.jump_if("je", done)
        a.mov(Reg.R13, at("weights"))
        a.mov(Reg.R14, 0)
        self.source(Reg.RBX)
        a.bind(tail_loop)
        for step in self.tiles():
            step()
        self.outputs(Reg.RBX)
        self.load_constants()
        a.mov(Reg.R11, Reg.R10)
        a.add(Reg.R11, Mem(Reg.RBX, 16))
        a.mov(Reg.R15, Mem(Reg.RBX, 24))
        a.bind(row_loop)
        for step in self.row(0):
            step()
        a.add(Reg.RCX, s.out_channels)
        a.add(Reg.R8, s.out_channels)
        a.add(Reg.R11, 64)
        a.sub(Reg.R15, 1)
        a.jump_if("jne", row_loop)
        a.add(Reg.R13, self.block_bytes)
        a.add(Reg.R14, COLUMNS)
        a.cmp(Reg.R14, s.out_channels)
        a.jump_if("jne", tail_loop)
        a.bind(done)
        a.tilerelease()
        a.mov(Reg.RSP, Mem(Reg.RSP, 8192))
        for r in reversed(saved):
            a.pop(r)
        a.ret()
        return a.code()

    def share(self) -> None:
        a = self.a
        a.add(Reg.RAX, at("shares"))
        a.mov(Reg.RBX, Mem(Reg.RAX, 0))
        a.mov(Reg.R15, Reg.RBX)
        a.mov(Reg.RBP, Mem(Reg.RAX, 8))
        a.mov(Reg.RCX, Mem(Reg.RAX, 16))
        a.mov(Mem(Reg.RSP, 8208), Reg.RCX)


def merge(first: list[Step], second: list[Step]) -> list[Step]:
    """Both lists in their order, the shorter spread evenly over the longer."""
    if not second: return first
    keyed = [((i + 0.5) / len(first), 0, s) for i, s in enumerate(first)]
    keyed += [((i + 0.5) / len(second), 1, s) for i, s in enumerate(second)]
    return [s for _, _, s in sorted(keyed, key=lambda k: k[:2])]


def pool(shape: Pointwise, rows: int) -> NDArray[np.uint8]:
    data = aligned(384)
    kt = depth(shape.channels)
    config = data[:64]
    config[0] = 1
    colsb = config[16:48].view(np.uint16)
    rws = config[48:64]
    for t in range(4):
        colsb[t], rws[t] = 64, rows
    for t in (4, 5):
        colsb[t], rws[t] = kt, rows
    for t in (6, 7):
        colsb[t], rws[t] = 64, kt // 4
    signed = shape.residual == "s8"
    for j in range(4):
        mask = np.full((4, 4, 4), 0x80, np.uint8)
        mask[:, :, 3 if signed else 0] = 4 * j + np.arange(4)
        data[64 + 64 * j : 128 + 64 * j] = mask.reshape(-1)
    floats = data[320:384].view(np.float32)
    floats[0] = np.float32(shape.residual_scale) * np.float32(2.0**-24 if signed else 1)
    floats[1] = shape.bound if shape.bound is not None else 0
    return data


def aligned(size: int) -> NDArray[np.uint8]:
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


class Kernel:
    def __init__(self, shape: Pointwise, batch: int, threads: int, weights: NDArray[np.uint8], constants: NDArray[np.float32], openmp: Any = None) -> None:
        m = batch * shape.height * shape.width
        self.shape = shape
        if shape.stride == 1:
            rows = min(ROWS, m)
            starts = np.arange(0, m - rows + 1, rows)
            src = starts * shape.channels
            left = m - len(starts) * rows
        else:
            rows = max(r for r in range(1, 17) if shape.width % r == 0)
            n, y, x = np.ogrid[:batch, : shape.height, : shape.width : rows]
            H, W = shape.height * shape.stride, shape.width * shape.stride
            src = (((n * H + y * shape.stride) * W + x * shape.stride) * shape.channels).reshape(-1)
            starts = np.arange(0, m, rows)
            left = 0
        self.blocks = np.stack([src, starts * shape.out_channels], 1).astype(np.uint64)
        self.tail = np.array([(m - rows) * shape.channels, (m - left) * shape.out_channels, (rows - left) * 64, left], np.uint64)
        count = len(starts)
        self.shares = np.zeros((threads, 4), np.uint64)
        for t in range(threads):
            lo, hi = count * t // threads, count * (t + 1) // threads
            self.shares[t, 0] = self.blocks.ctypes.data + 16 * lo
            self.shares[t, 1] = self.blocks.ctypes.data + 16 * hi
        if left:
            self.shares[0, 2] = self.tail.ctypes.data
        self.pool = pool(shape, rows)
        self.weights, self.constants = weights, constants
        self.executable = Executable(_Writer(shape, rows).write())
        number = ctypes.cast(openmp.omp_get_thread_num, ctypes.c_void_p).value if threads > 1 else 0
        self.arguments = Arguments(0, 0, 0, weights.ctypes.data, constants.ctypes.data, self.pool.ctypes.data, number, self.shares.ctypes.data)
        self.pointer = ctypes.addressof(self.arguments)
        f = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.executable.address)
        if threads == 1:
            self.call = lambda: f(self.pointer)
        else:
            g = openmp.GOMP_parallel
            g.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            self.call = lambda: g(self.executable.address, self.pointer, threads, 0)


def permit() -> bool:
    """Ask Linux for tiles"""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(158, 0x1023, 18) == 0
