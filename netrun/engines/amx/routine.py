"""What all kernels have in common: how they are called, share work, and find their constants.

A kernel is a function of one argument, the address of an `Arguments`, that returns 0. With several
threads, the function lets OpenMP call a worker on each of them::

    entry(arguments) ──▶ GOMP_parallel(worker, arguments, threads) ──▶ worker on every thread

A worker takes the share of its number, and those that follow at distances of the team's size: there
may be fewer threads than shares, because OpenMP is free to give fewer than it is asked for. It
loads its tile configuration and releases the tiles in the end, because other kernels on the same
thread have their own. Its sums go through scratch memory on the stack.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Assembler, Executable, Label, Mem, Reg, Tmm, Zmm

LINE = 64
ROWS = 16  # of a tile
LANES = 16  # int32 or float32 of a vector, and columns of a tile of sums
TILES = 4  # of sums, that together are packed into one vector of bytes
COLUMNS = TILES * LANES
TILE = ROWS * LINE  # bytes of a tile of sums
BLOCK = TILES * TILE  # bytes of the sums of 16 rows and 64 output channels
SHARE = 4  # words of a thread's share
_LARGEST_INPUT = 255
AMX_BITS = 0xE00  # that oneDNN's AVX512_CORE_AMX adds to AVX512_CORE_FP16
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18
_SAVED = (Reg.RBX, Reg.RBP, Reg.R12, Reg.R13, Reg.R14, Reg.R15)

Step = Callable[[], None]


class Arguments(ctypes.Structure):
    """What the code reads; `source`, `residual` and `output` may change from call to call."""

    _fields_ = [
        ("source", ctypes.c_uint64),
        ("residual", ctypes.c_uint64),
        ("output", ctypes.c_uint64),
        ("weights", ctypes.c_uint64),
        ("factors", ctypes.c_uint64),
        ("pool", ctypes.c_uint64),
        ("shares", ctypes.c_uint64),
        ("worker", ctypes.c_uint64),
        ("threads", ctypes.c_uint64),
        ("parallel", ctypes.c_uint64),
        ("thread_number", ctypes.c_uint64),
        ("team_size", ctypes.c_uint64),
    ]


@lru_cache(maxsize=1)
def permitted() -> bool:
    """Whether this process may use tiles, for which Linux wants to be asked, and make code."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA):
        return False
    try:
        Executable(b"\xc3")
    except OSError:  # a hardened system, such as systemd's MemoryDenyWriteExecute
        return False
    return True


class Layer(Protocol):
    """What a layer's description says about a kernel for it."""

    @property
    def fits(self) -> bool:
        """Whether there is a kernel for such a layer."""


def supported(isa: int, layer: Layer) -> bool:
    """Whether `layer` has a kernel here; `isa` are the bits that oneDNN says are in use."""
    return isa & AMX_BITS == AMX_BITS and layer.fits and permitted()


def within_range(
    weights: NDArray[np.int8],
    scales: NDArray[np.float32],
    bias: NDArray[np.float32],
    residual_scale: float = 0.0,
) -> bool:
    """Whether scales are positive, and results fit int32 when rounded, whatever the input.

    Kernels take both for granted. `weights` have the output channels first.
    """
    sums = np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(1) * _LARGEST_INPUT
    largest = np.abs(scales) * sums + np.abs(bias) + _LARGEST_INPUT * abs(residual_scale)
    return bool(np.all(largest < 2**31) and np.all(scales > 0))


def aligned(size: int) -> NDArray[np.uint8]:
    """Zeroed bytes that start on a cache line: tiles are loaded several times faster from there."""
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


class Pool:
    """Constants of a kernel, each on a cache line of its own."""

    def __init__(self) -> None:
        self._items: list[bytes] = []

    def add(self, item: NDArray[Any]) -> int:
        """The offset at which `item` will lie."""
        offset = sum(map(len, self._items))
        data = item.tobytes()
        self._items.append(data + bytes(-len(data) % LINE))
        return offset

    def memory(self) -> NDArray[np.uint8]:
        """All constants."""
        data = np.frombuffer(b"".join(self._items), np.uint8)
        memory = aligned(data.size)
        memory[:] = data
        return memory


def configuration(shapes: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """What ``ldtilecfg`` loads: palette 1, and (rows, bytes of a row) of each tile."""
    config = np.zeros(LINE, np.uint8)
    config[0] = 1
    for tile, (rows, size) in enumerate(shapes):
        config[16 + 2 * tile] = size
        config[48 + tile] = rows
    return config


def channel_order(out_channels: int) -> NDArray[np.int64]:
    """The output channel of each (block, tile, column).

    Packing four vectors of int32 into one of bytes (vpackssdw, vpackuswb) works on 128 bits each.
    Dealt like this, channels come out of it in their order; of a block's 64::

        tile 0   0  1  2  3 | 16 17 18 19 | 32 33 34 35 | 48 49 50 51
        tile 1   4  5  6  7 | 20 21 22 23 | 36 37 38 39 | 52 53 54 55
        tile 2   8  9 10 11 | 24 25 26 27 | 40 41 42 43 | 56 57 58 59
        tile 3  12 13 14 15 | 28 29 30 31 | 44 45 46 47 | 60 61 62 63
    """
    block, tile, column = np.ogrid[: out_channels // COLUMNS, :TILES, :LANES]
    order: NDArray[np.int64] = block * COLUMNS + LANES * (column // 4) + 4 * tile + column % 4
    return order


def pack_factors(scales: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales and bias of the output channels as kernels read them: by block, in the tiles' order.

    Of each block, its 64 scales and then its 64 biases.
    """
    order = channel_order(len(scales))
    factors = np.stack([scales[order], bias[order]], 1).astype(np.float32)
    return np.ascontiguousarray(factors).reshape(-1)


def interleave(first: list[Step], second: list[Step]) -> list[Step]:
    """Both lists in their order, each spread evenly over the whole."""
    places = [
        ((index + 0.5) / len(steps), which, step)
        for which, steps in enumerate((first, second))
        for index, step in enumerate(steps)
    ]
    return [step for _, _, step in sorted(places, key=lambda place: place[:2])]


class Routine:
    """The frame of a kernel's code: a subclass writes its `work`.

    In `work`, RDI is the arguments, RAX the thread's share, RDX 64 (the distance of rows of tiles),
    RSP the scratch memory. Everything else is free; `start_tiles` and `end` bracket the work.
    """

    def __init__(self, scratch: int) -> None:
        self.a = Assembler()
        self.pool = Pool()
        self._scratch = scratch
        self.worker = 0

    def work(self, end: Label) -> None:
        """Write the code between the frame's two halves; jump to `end` or fall through to it."""
        raise NotImplementedError

    def argument(self, name: str) -> Mem:
        """A field of the arguments."""
        return Mem(Reg.RDI, getattr(Arguments, name).offset)

    def emit(self, steps: list[Step]) -> None:
        """Write steps one after the other."""
        for step in steps:
            step()

    def write(self) -> bytes:
        """The whole code: the entry for several threads, and at `worker` what each of them does."""
        a, again, end, alone = self.a, Label(), Label(), Label()
        stack, arguments, share, distance = (Mem(Reg.RSP, self._scratch + 8 * i) for i in range(4))
        a.sub(Reg.RSP, 8)  # the stack is aligned to 16 where a function is called
        a.mov(Reg.RSI, Reg.RDI)
        a.mov(Reg.RDX, self.argument("threads"))
        a.mov(Reg.RAX, self.argument("parallel"))
        a.mov(Reg.RDI, self.argument("worker"))
        a.mov(Reg.RCX, 0)
        a.call(Reg.RAX)
        a.add(Reg.RSP, 8)
        a.mov(Reg.RAX, 0)
        a.ret()
        a.align(LINE)
        self.worker = a.position
        for register in _SAVED:
            a.push(register)
        a.mov(Reg.RBP, Reg.RSP)
        a.sub(Reg.RSP, self._scratch + LINE)
        a.and_(Reg.RSP, -LINE)
        a.mov(stack, Reg.RBP)
        a.mov(arguments, Reg.RDI)
        a.mov(Reg.RAX, 0)
        a.mov(share, Reg.RAX)
        a.mov(Reg.RAX, 1)
        a.mov(distance, Reg.RAX)
        a.mov(Reg.RAX, self.argument("threads"))
        a.cmp(Reg.RAX, 1)
        a.jump_if("je", alone)
        for function, place in (("thread_number", share), ("team_size", distance)):
            a.mov(Reg.RAX, self.argument(function))
            a.call(Reg.RAX)
            a.shl(Reg.RAX, 32)  # an int: what stands above it is undefined
            a.shr(Reg.RAX, 32)
            a.mov(place, Reg.RAX)
            a.mov(Reg.RDI, arguments)
        a.bind(alone)
        a.bind(again)
        a.mov(Reg.RAX, share)
        a.shl(Reg.RAX, 5)  # 32 bytes each
        a.add(Reg.RAX, self.argument("shares"))
        a.mov(Reg.RDX, LINE)
        self.work(end)
        a.bind(end)
        a.mov(Reg.RDI, arguments)
        a.mov(Reg.RAX, share)
        a.add(Reg.RAX, distance)
        a.mov(share, Reg.RAX)
        a.cmp(Reg.RAX, self.argument("threads"))
        a.jump_if("jb", again)
        a.tilerelease()
        a.vzeroupper()
        a.mov(Reg.RSP, stack)
        for register in reversed(_SAVED):
            a.pop(register)
        a.mov(Reg.RAX, 0)
        a.ret()
        return a.code()

    @cached_property
    def written(self) -> Code:
        """The code, written once: kernels for other batches differ in what they share alone."""
        return Code(Executable(self.write()), self.pool.memory())

    def load_factors(self, base: Reg) -> None:
        """Scales into vectors 0 to 3, biases into 4 to 7."""
        for index in range(2 * TILES):
            self.a.load(Zmm(index), Mem(base, index * LINE))

    def scale(self, tile: int, sums: Zmm) -> list[Step]:
        """Sums times scale plus bias, in the order in which oneDNN rounds."""
        a = self.a
        return [
            partial(a.vector, "vmulps", sums, sums, Zmm(tile)),
            partial(a.vector, "vaddps", sums, sums, Zmm(TILES + tile)),
        ]

    def pack(self, sums: Sequence[Zmm], target: Mem, dtype: str) -> list[Step]:
        """Four vectors of int32, saturated, into 64 bytes of memory."""
        a, narrow = self.a, "vpackuswb" if dtype == "u8" else "vpacksswb"
        return [
            partial(a.vector, "vpackssdw", sums[0], sums[0], sums[1]),
            partial(a.vector, "vpackssdw", sums[2], sums[2], sums[3]),
            partial(a.vector, narrow, sums[0], sums[0], sums[2]),
            partial(a.store, target, sums[0]),
        ]

    def store_tiles(self, base: Reg, tiles: Sequence[tuple[int, int]]) -> list[Step]:
        """Tiles, each (its number, its offset), into scratch memory."""
        a = self.a
        return [
            partial(a.tilestored, Mem(base, offset, Reg.RDX), Tmm(tile)) for tile, offset in tiles
        ]


class Code(NamedTuple):
    """A routine's code, and the constants that it reads."""

    executable: Executable
    pool: NDArray[np.uint8]


class Kernel:
    """A kernel ready to be called: ``function(address of arguments)``, which returns 0.

    `address` and `pointer` are the function and its argument as integers, `call` runs it. Point
    `arguments.source`, `.residual` and `.output` to memory on a cache line first; the kernel keeps
    everything else alive. `residual` and `output` may be the same memory.
    """

    def __init__(
        self,
        routine: Routine,
        shares: NDArray[np.uint64],
        weights: NDArray[np.uint8],
        factors: NDArray[np.float32],
        openmp: ctypes.CDLL,
        keep: tuple[NDArray[Any], ...],
    ) -> None:
        if weights.ctypes.data % LINE or factors.ctypes.data % LINE:
            raise ValueError("packed weights and factors have to start on a cache line")
        threads = len(shares)
        code = routine.written
        self._kept = (code, shares, weights, factors, *keep)
        worker = code.executable.address + routine.worker
        several = threads > 1
        self.arguments = Arguments(
            weights=weights.ctypes.data,
            factors=factors.ctypes.data,
            pool=code.pool.ctypes.data,
            shares=shares.ctypes.data,
            worker=worker,
            threads=threads,
            parallel=_address(openmp.GOMP_parallel) if several else 0,
            thread_number=_address(openmp.omp_get_thread_num) if several else 0,
            team_size=_address(openmp.omp_get_num_threads) if several else 0,
        )
        self.address = code.executable.address if several else worker
        self.pointer = ctypes.addressof(self.arguments)
        self.function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self.address)

    def call(self) -> None:
        """Run it on the arguments as they are."""
        self.function(self.pointer)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
