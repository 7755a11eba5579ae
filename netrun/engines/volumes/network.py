"""An int8 program over volumes (`models.volume_program`), ready for windows of any shape.

Primitives and buffers are made when a shape is first met; weights are packed once for each layout
that kernels want. Tensors whose last reader is through lend their memory to later ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_void_p
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.task import Array
from models.volume_program import TYPES, Block, Double, Head, Operation, VolumeProgram
from netrun.engines.onednn import library as dnn
from netrun.engines.volumes import kernels

LINE = 64
PLACES = 8
"""Voxels that a transposed convolution makes of one."""
Shape = tuple[int, int, int]
PLANES = 1 << 18
"""Voxels of an input that are quantised at once."""
Bytes = NDArray[np.uint8]
Size = tuple[int, ...]
OWN = "AVX-512, our own"
COPY = "NumPy"


@dataclass(frozen=True)
class Step:
    """A kernel of a window: its work, and the bytes that it must read and write at least.

    `macs` are without those on padding, which kernels skip. Shapes are (D, H, W, channels).
    """

    name: str
    kernel: str
    source: Size
    output: Size
    macs: int
    bytes: int
    run: Callable[[], None]


class VolumeNetwork:
    """Computes logits of windows. Raises OneDNNError where oneDNN cannot."""

    def __init__(self, program: VolumeProgram, threads: int) -> None:
        self.program = program
        self.lib = dnn.load()
        self.lib.set_threads(threads)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._threads = threads
        self._plans: dict[Shape, _Plan] = {}
        self._packed: dict[str, list[tuple[c_void_p, Bytes]]] = {}

    def __call__(self, window: Array) -> Array:
        """Logits [classes, D, H, W] of a window, float32 [channels, D, H, W].

        They are valid until the next call, and not contiguous. Raises ValueError for a shape that
        the network does not halve evenly.
        """
        return self._plan(window).run(window)

    def steps(self, window: Array) -> Sequence[Step]:
        """The kernels that windows of this shape go through."""
        return self._plan(window).steps

    def profile(self, window: Array) -> list[int]:
        """Nanoseconds that each step takes, on this window."""
        return self._plan(window).profile(window)

    def _plan(self, window: Array) -> _Plan:
        shape: Shape = window.shape[1:]  # type: ignore[assignment]
        if any(size % self.program.multiple for size in shape):
            raise ValueError(
                f"a window {list(shape)}: sides must divide by {self.program.multiple}"
            )
        if shape not in self._plans:
            self._plans[shape] = _Plan(self, shape)
        return self._plans[shape]

    def describe(self) -> dict[str, Any]:
        """For a run's record: oneDNN's version, kernels and megabytes by window."""
        return {
            "onednn": self.lib.version,
            "windows": {
                "x".join(map(str, shape)): {
                    "megabytes": round(plan.bytes / 1e6),
                    "kernels": plan.kernels,
                }
                for shape, plan in self._plans.items()
            },
        }

    def packed(self, name: str, wanted: c_void_p, shape: tuple[int, ...]) -> Bytes:
        """The weights of an operation in a layout."""
        for layout, data in self._packed.setdefault(name, []):
            if self.lib.equal(layout, wanted):
                return data
        lib = self.lib
        plain = np.ascontiguousarray(self.program.constants[f"{name}.weight"])
        strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
        given = lib.descriptor(shape, "s8", strides)
        data = _aligned(lib.size(wanted))
        attributes = lib.create("dnnl_primitive_attr_create")
        descriptor = lib.create(
            "dnnl_reorder_primitive_desc_create",
            *(given, lib.engine, wanted, lib.engine, attributes),
        )
        arguments = dnn.exec_args(
            (dnn.ARG_SRC, lib.memory(given, plain.ctypes.data)),
            (dnn.ARG_DST, lib.memory(wanted, data.ctypes.data)),
        )
        reorder = lib.create("dnnl_primitive_create", descriptor)
        lib.call("dnnl_primitive_execute", reorder, lib.stream, 2, arguments)
        lib.call("dnnl_stream_wait", lib.stream)
        self._packed[name].append((wanted, data))
        return data

    def over_rows(self, work: Callable[[slice], Any], rows: int) -> list[Any]:
        """What `work` gives for as many parts of the rows as there are threads."""
        if self._pool is None:
            return [work(slice(0, rows))]
        cuts = [rows * part // self._threads for part in range(self._threads + 1)]
        return list(self._pool.map(work, map(slice, cuts, cuts[1:])))


class _Plan:
    """The steps of a program for one shape."""

    def __init__(self, network: VolumeNetwork, shape: Shape) -> None:
        program = network.program
        self._network, self._shape = network, shape
        self._window: Array = np.empty(0)
        self._kept: list[Any] = []
        self.steps: list[Step] = []
        self.kernels: dict[str, str] = {}
        memory = _Memory(program, self._bytes)
        self._input = memory.of(program.input)
        image = self._voxels(0) * program.tensors[program.input].channels
        self._step("input", COPY, (program.input, program.input), 0, 5 * image, self._quantise)
        for number, operation in enumerate(program.operations):
            self._add(number, operation, memory)
            memory.free_after(number)
        self._output = memory.of(program.output)
        self._scratchpad = memory.scratchpad
        self.bytes = memory.total

    def run(self, window: Array) -> Array:
        """Logits [classes, D, H, W], valid until the next run."""
        self._window = window
        for step in self.steps:
            step.run()
        classes = self._network.program.tensors[self._network.program.output].channels
        voxels = self._voxels(0)
        logits = self._output.view(np.float32)[: voxels * classes]
        return logits.reshape(*self._shape, classes).transpose(3, 0, 1, 2)

    def profile(self, window: Array) -> list[int]:
        """Nanoseconds of each step."""
        self._window = window
        clock = [time.perf_counter_ns()]
        for step in self.steps:
            step.run()
            clock.append(time.perf_counter_ns())
        return [end - start for start, end in pairwise(clock)]

    def _quantise(self) -> None:
        steps = self._network.program.constants[f"{self._network.program.input}.steps"]
        window = self._window
        target = self._input.view(np.int8)[: window.size].reshape(*self._shape, len(steps))
        # Some planes at a time: what is scaled stays in caches, and takes little memory.
        several = max(1, PLANES // window[:, 0].size)
        for first in range(0, len(target), several):
            planes = slice(first, first + several)
            scaled = np.divide(window[:, planes], steps[:, None, None, None])
            np.rint(scaled, out=scaled)
            np.clip(scaled, -127, 127, out=scaled)
            np.copyto(target[planes], scaled.transpose(1, 2, 3, 0), casting="unsafe")

    def _step(
        self,
        name: str,
        kernel: str,
        tensors: tuple[str, str],
        macs: int,
        moved: int,
        run: Callable[[], None],
    ) -> None:
        """Add a step between two tensors; `moved` are the bytes."""
        known = self._network.program.tensors
        source, output = ((*self._size(known[t].level), known[t].channels) for t in tensors)
        self.steps.append(Step(name, kernel, source, output, macs, moved, run))

    def _voxels(self, level: int) -> int:
        depth, height, width = self._size(level)
        return depth * height * width

    def _size(self, level: int) -> Shape:
        depth, height, width = (size >> level for size in self._shape)
        return depth, height, width

    def _bytes(self, name: str) -> int:
        tensor = self._network.program.tensors[name]
        return self._voxels(tensor.level) * tensor.channels * np.dtype(TYPES[tensor.dtype]).itemsize

    def _add(self, number: int, operation: Operation, memory: _Memory) -> None:
        if isinstance(operation, Block):
            self._block(number, operation, memory)
        elif isinstance(operation, Double):
            self._double(number, operation, memory)
        else:
            self._head(operation, memory)

    def _block(self, number: int, operation: Block, memory: _Memory) -> None:
        network = self._network
        constants = network.program.constants
        weight = constants[f"{operation.name}.weight"]
        level = network.program.tensors[operation.outputs[0]].level
        voxels, channels = self._voxels(level), len(weight)
        raw = memory.borrow(voxels * channels)
        self._convolve(operation, memory, raw, "s8", level, operation.stride)
        # What was convolved is read no more: results may take its place.
        memory.free_after(number)
        volume = raw.view(np.int8)[: voxels * channels].reshape(voxels, channels)
        gain, shift, epsilon = (
            constants[f"{operation.name}.{what}"].astype(np.float64)
            for what in ("gain", "shift", "epsilon")
        )
        places = [
            (self._place(memory, name), constants[f"{name}.steps"]) for name in operation.outputs
        ]
        memory.give_back(raw)
        slope = operation.slope

        def norm() -> None:
            sums = sum(network.over_rows(lambda rows: kernels.moments(volume[rows]), voxels))
            mean = sums[0] / voxels
            variance = np.maximum(sums[1] / voxels - mean * mean, 0)
            factor = gain / np.sqrt(variance + epsilon)
            for out, steps in places:
                factors = np.array([factor, shift - mean * factor]) / steps
                network.over_rows(partial(_normalise, volume, out, factors, slope), voxels)

        # Read twice: moments must be known before the first value is normalised.
        moved = voxels * channels * (2 + len(places))
        names = (operation.outputs[0], operation.outputs[0])
        kernel = OWN if channels % kernels.LANES == 0 and kernels.available() else COPY
        self._step(f"{operation.name} norm", kernel, names, 0, moved, norm)

    def _double(self, number: int, operation: Double, memory: _Memory) -> None:
        tensors = self._network.program.tensors
        target = tensors[operation.output]
        size = self._size(target.level + 1)
        wide = PLACES * target.channels
        voxels = self._voxels(target.level + 1)
        raw = memory.borrow(voxels * wide)
        self._convolve(operation, memory, raw, "s8", target.level + 1, 1)
        memory.free_after(number)
        _, height, width = size
        place = self._place(memory, operation.output)
        memory.give_back(raw)
        step = place.strides[0]
        # Where the eight voxels of each one lie: [D, H, W, 2, 2, 2, channels].
        rows = (4 * height * width, 2 * width, 1)
        pairs = np.lib.stride_tricks.as_strided(
            place,
            (*size, 2, 2, 2, target.channels),
            (*(2 * step * row for row in rows), *(step * row for row in rows), 1),
        )
        made = raw.view(np.int8)[: voxels * wide].reshape(*size, 2, 2, 2, target.channels)

        def scatter() -> None:
            self._network.over_rows(lambda rows: np.copyto(pairs[rows], made[rows]), size[0])

        names = (operation.output, operation.output)
        self._step(f"{operation.name} scatter", COPY, names, 0, 2 * voxels * wide, scatter)

    def _head(self, operation: Head, memory: _Memory) -> None:
        self._convolve(operation, memory, memory.of(operation.output), "f32", 0, 1)

    def _place(self, memory: _Memory, name: str) -> Array:
        """A tensor as [voxels, channels], wherever it lies."""
        tensors = self._network.program.tensors
        tensor = tensors[name]
        host = tensors[tensor.host] if tensor.host else tensor
        voxels, dtype = self._voxels(tensor.level), TYPES[tensor.dtype]
        whole = memory.of(name).view(dtype)[: voxels * host.channels]
        whole = whole.reshape(voxels, host.channels)
        return whole[:, tensor.offset : tensor.offset + tensor.channels]

    def _convolve(
        self,
        operation: Operation,
        memory: _Memory,
        out: Bytes,
        dtype: str,
        level: int,
        stride: int,
    ) -> None:
        network, lib = self._network, self._network.lib
        constants = network.program.constants
        source = network.program.tensors[operation.source]
        weight = constants[f"{operation.name}.weight"]
        side = weight.shape[-1] if weight.ndim == 5 else 1
        shape = (*weight.shape[:2], side, side, side)
        given = self._descriptor(source.channels, source.level, source.dtype)
        target = self._descriptor(len(weight), level, dtype)
        vector = lib.descriptor((len(weight),), "f32", (1,))
        attributes = lib.create("dnnl_primitive_attr_create")
        lib.call("dnnl_primitive_attr_set_scratchpad_mode", attributes, dnn.SCRATCHPAD_USER)
        lib.call("dnnl_primitive_attr_set_scales_mask", attributes, dnn.ARG_WEIGHTS, 1)
        around = dnn.dims((side // 2,) * 3)
        # Blocks have no bias: their norm would take it out again.
        biased = not isinstance(operation, Block)
        descriptor = lib.create(
            "dnnl_convolution_forward_primitive_desc_create",
            *(lib.engine, dnn.FORWARD_INFERENCE, dnn.CONVOLUTION_DIRECT, given),
            lib.any_descriptor(shape, "s8"),
            vector if biased else None,
            target,
            *(dnn.dims((stride,) * 3), dnn.dims((0,) * 3), around, around, attributes),
        )
        self.kernels[operation.name] = lib.implementation(descriptor)
        layout = lib.query_descriptor(descriptor, dnn.QUERY_WEIGHTS)
        scratchpad = lib.query_descriptor(descriptor, dnn.QUERY_SCRATCHPAD)
        packed = network.packed(operation.name, layout, shape)
        scales = _copied(constants[f"{operation.name}.scales"])
        pairs = [
            (dnn.ARG_SRC, lib.memory(given, memory.of(operation.source).ctypes.data)),
            (dnn.ARG_WEIGHTS, lib.memory(layout, packed.ctypes.data)),
            (dnn.ARG_DST, lib.memory(target, out.ctypes.data)),
            (dnn.ARG_SCRATCHPAD, lib.memory(scratchpad, memory.scratch(lib.size(scratchpad)))),
            (dnn.ARG_SCALES | dnn.ARG_WEIGHTS, lib.memory(vector, scales.ctypes.data)),
        ]
        self._kept += [packed, scales, out]
        if biased:
            bias = _copied(constants[f"{operation.name}.bias"])
            pairs.append((dnn.ARG_BIAS, lib.memory(vector, bias.ctypes.data)))
            self._kept.append(bias)
        primitive = lib.create("dnnl_primitive_create", descriptor)
        arguments = dnn.exec_args(*pairs)

        def convolve() -> None:
            lib.call("dnnl_primitive_execute", primitive, lib.stream, len(pairs), arguments)

        # Of a window's positions in each direction, those that lie on no padding.
        inside = [
            side * (size >> level) - (side > 1) * (1 if stride == 2 else 2) for size in self._shape
        ]
        macs = weight.shape[0] * weight.shape[1] * int(np.prod(inside, dtype=np.int64))
        moved = self._voxels(source.level) * source.channels + weight.size + 8 * len(weight)
        moved += self._voxels(level) * len(weight) * np.dtype(TYPES[dtype]).itemsize
        names = (operation.source, outputs_of(operation)[0])
        self._step(operation.name, self.kernels[operation.name], names, macs, moved, convolve)

    def _descriptor(self, channels: int, level: int, dtype: str) -> c_void_p:
        depth, height, width = self._size(level)
        strides = (
            depth * height * width * channels,
            1,
            height * width * channels,
            width * channels,
            channels,
        )
        return self._network.lib.descriptor((1, channels, depth, height, width), dtype, strides)


class _Memory:
    """Buffers by tensor; those that nobody reads any more are given to others."""

    def __init__(self, program: VolumeProgram, size: Callable[[str], int]) -> None:
        self._program, self._size = program, size
        self._held: dict[str, Bytes] = {}
        self._free: list[Bytes] = []
        self._lent: list[Bytes] = []
        self.total = 0
        self.scratchpad: list[Bytes] = []
        self._last = {program.input: 0, program.output: len(program.operations)}
        for number, operation in enumerate(program.operations):
            for name in (operation.source, *outputs_of(operation)):
                root = self._root(name)
                self._last[root] = max(number, self._last.get(root, 0))

    def of(self, name: str) -> Bytes:
        """The buffer of a tensor, or of the one that it lies in."""
        root = self._root(name)
        if root not in self._held:
            self._held[root] = self.borrow(self._size(root))
        return self._held[root]

    def borrow(self, size: int) -> Bytes:
        """A buffer of at least so many bytes."""
        fitting = [buffer for buffer in self._free if len(buffer) >= size]
        if fitting:
            best = min(fitting, key=len)
            self._free = [buffer for buffer in self._free if buffer is not best]
            return best
        self.total += size
        return _aligned(size)

    def give_back(self, buffer: Bytes) -> None:
        """Lend a buffer to operations that come later."""
        self._lent.append(buffer)

    def free_after(self, number: int) -> None:
        """Lend what an operation is the last to read, and what was given back."""
        for root in [root for root in self._held if self._last[root] == number]:
            if root != self._program.output:
                self._free.append(self._held.pop(root))
        self._free += self._lent
        self._lent = []

    def scratch(self, size: int) -> int:
        """Address of a scratchpad; each primitive has its own, few need any."""
        self.scratchpad.append(_aligned(max(size, 1)))
        self.total += size
        return int(self.scratchpad[-1].ctypes.data)

    def _root(self, name: str) -> str:
        return self._program.tensors[name].host or name


def outputs_of(operation: Operation) -> tuple[str, ...]:
    """Names of what an operation writes."""
    return operation.outputs if isinstance(operation, Block) else (operation.output,)


def _normalise(
    volume: NDArray[np.int8], out: Array, factors: Array, slope: float, rows: slice
) -> None:
    kernels.normalise(volume[rows], factors.astype(np.float32), out[rows], slope)


def _aligned(size: int) -> Bytes:
    buffer = np.empty(size + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    return buffer[start : start + size]


def _copied(values: Sequence[float] | Array) -> Array:
    return np.array(values, np.float32)
