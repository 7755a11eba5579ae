"""A convolution whose windows are first laid out one behind the other, as rows of a 1x1 one.

Where images are small, rows of pixels are too short for tiles, and each short tile reads all the
weights. Laid out, they fill tiles of 16 rows::

    source (3x3 window, padding 1)                        rows, 9 x channels each
    . . . . .                                 output 0    | . | . | . | . | a | b | . | d | e |
    . a b c .        each output's window,    output 1    | . | . | . | a | b | c | d | e | f |
    . d e f .        zeros where it is        ...
    . . . . .        padding          ──▶

Each thread lays out the rows of its own blocks, in memory that all kernels of a process share.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.assembler import Label, Mem, Reg, Zmm
from netrun.engines.amx.pointwise import SOURCE, Pointwise, PointwiseRoutine
from netrun.engines.amx.routine import LINE, SHARE, Kernel, aligned

MOST_DEPTH = 4608  # bytes of a window: the code is unrolled over them
_OUTSIDE = -1
_VECTORS = range(16, 32)
_workspaces: dict[int, NDArray[np.uint8]] = {}


@dataclass(frozen=True)
class Gathered:
    """``output = clamp(conv(source) * scale + bias)``, of square windows.

    `height` x `width` are the outputs of a sample, `source_height` x `source_width` its pixels;
    `padding` is that above and to the left. Everything else is as in `Pointwise`.
    """

    height: int
    width: int
    channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: tuple[int, int]
    source_height: int
    source_width: int
    source: str = "u8"
    output: str = "u8"
    relu: bool = True
    bound: float | None = None

    @property
    def product(self) -> Pointwise:
        """What remains to be computed."""
        return Pointwise(
            *(self.height, self.width, self.channels * self.kernel**2, self.out_channels),
            source=self.source,
            output=self.output,
            relu=self.relu,
            bound=self.bound,
        )

    @property
    def fits(self) -> bool:
        """Whether there is a kernel for such a layer."""
        product = self.product
        return (
            product.shaped
            and self.channels % LINE == 0
            and product.channels <= MOST_DEPTH
            and (self.kernel > 1 or self.stride > 1)  # or there is nothing to lay out
        )

    def pack(self, weights: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Weights (out channels, channels, height, width) as the code reads them."""
        rows = weights.reshape(self.out_channels, self.channels, self.kernel, self.kernel)
        return self.product.pack(rows.transpose(0, 2, 3, 1).reshape(self.out_channels, -1))

    def make(
        self,
        batch: int,
        threads: int,
        weights: NDArray[np.uint8],
        factors: NDArray[np.float32],
        openmp: ctypes.CDLL,
    ) -> Kernel:
        """A kernel for `batch` samples; raises OSError where memory cannot be made executable."""
        product, offsets = self.product, self._offsets(batch)
        rows, blocks, tail = product.blocks(batch)
        total, row_bytes = len(offsets), product.channels
        shares = np.zeros((threads, SHARE), np.uint64)
        tasks = np.zeros((threads, 3), np.uint64)
        kept: list[NDArray[Any]] = [blocks, tail, tasks]
        for thread in range(threads):
            begin, end = (len(blocks) * t // threads for t in (thread, thread + 1))
            first, last = begin * rows, end * rows
            blocks[begin:end, 0] = np.arange(end - begin) * rows * row_bytes
            left = thread == threads - 1 and bool(tail[-1])
            if left:
                first, last = min(first, total - rows), total
                blocks[begin:end, 0] += np.uint64((begin * rows - first) * row_bytes)
                tail[0] = (total - rows - first) * row_bytes
            windows = np.ascontiguousarray(offsets[first:last])
            workspace = _workspace(thread, windows.shape[0] * row_bytes)
            start = windows.ctypes.data
            tasks[thread] = workspace.ctypes.data, start, start + windows.nbytes
            kept += [windows, workspace]
            entries = blocks.ctypes.data
            shares[thread] = (
                *(entries + blocks.strides[0] * begin, entries + blocks.strides[0] * end),
                *(tail.ctypes.data if left else 0, tasks[thread].ctypes.data),
            )
        return Kernel(_routine(self, rows), shares, weights, factors, openmp, tuple(kept))

    def _offsets(self, batch: int) -> NDArray[np.int64]:
        """(outputs, pixels of a window): where each pixel is in the source, or that it is outside.

        In memory a window's pixels are in the order of the packed weights.
        """
        sample, y, x, dy, dx = np.ogrid[
            :batch, : self.height, : self.width, : self.kernel, : self.kernel
        ]
        top, left = self.padding
        row, column = y * self.stride + dy - top, x * self.stride + dx - left
        inside = (row >= 0) & (row < self.source_height) & (column >= 0)
        inside = inside & (column < self.source_width)
        pixel = (sample * self.source_height + row) * self.source_width + column
        offsets = np.where(inside, pixel * self.channels, _OUTSIDE)
        return offsets.reshape(-1, self.kernel**2)


class _GatheredRoutine(PointwiseRoutine):
    """A share's fourth word is a task: where the rows go, the list of offsets and its end."""

    def __init__(self, layer: Gathered, rows: int) -> None:
        super().__init__(layer.product, rows)
        self._pixel_bytes = layer.channels

    def prepare_source(self) -> None:
        """Copy what the list of offsets says. R12 goes through the rows, R14 through the list."""
        a, again, outside, copied, done = self.a, Label(), Label(), Label(), Label()
        zero, vectors = Zmm(_VECTORS[0]), [Zmm(number) for number in _VECTORS[1:]]
        lines = range(0, self._pixel_bytes, LINE)
        a.mov(Reg.R9, Mem(Reg.RAX, 24))
        a.mov(Reg.R12, Mem(Reg.R9, 0))
        a.mov(Mem(Reg.RSP, SOURCE), Reg.R12)
        a.mov(Reg.R14, Mem(Reg.R9, 8))
        a.vector("vpxord", zero, zero, zero)
        a.bind(again)
        a.cmp(Reg.R14, Mem(Reg.R9, 16))
        a.jump_if("je", done)
        a.mov(Reg.R8, Mem(Reg.R14, 0))
        a.add(Reg.R14, 8)
        a.cmp(Reg.R8, _OUTSIDE)
        a.jump_if("je", outside)
        a.add(Reg.R8, self.argument("source"))
        for index, line in enumerate(lines):
            vector = vectors[index % len(vectors)]
            a.load(vector, Mem(Reg.R8, line))
            a.store(Mem(Reg.R12, line), vector)
        a.bind(copied)
        a.add(Reg.R12, self._pixel_bytes)
        a.jmp(again)
        a.bind(outside)
        for line in lines:
            a.store(Mem(Reg.R12, line), zero)
        a.jmp(copied)
        a.bind(done)


def _workspace(thread: int, size: int) -> NDArray[np.uint8]:
    """Memory for the rows of a thread, shared by all kernels: they run one after the other.

    Kernels made earlier hold what they were made with.
    """
    if size > _workspaces.get(thread, np.zeros(0)).nbytes:
        _workspaces[thread] = aligned(size)
    return _workspaces[thread]


@cache
def _routine(layer: Gathered, rows: int) -> _GatheredRoutine:
    return _GatheredRoutine(layer, rows)
