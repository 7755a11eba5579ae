"""A static executor: everything is created before the first sample; a batch is a loop over calls.

Buffers of activations are planned once per batch size. A residual addition accumulates in place, so
its output takes over the residual's buffer.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from ctypes import c_void_p
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifact import Artifact, ArtifactError
from models.program import Convolution, Linear, Operation, Program, from_description
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.pack import machine_facts
from netrun.engines.onednn.primitives import Kernel, make_kernel

LINE = 64
HUGE_PAGE = 2 << 20


def plan_buffers(program: Program, batch: int) -> tuple[dict[str, int], int]:
    """Offsets of all activations in one buffer, and its size in bytes.

    A tensor's bytes are free again after its last reader; the first gap that fits is taken. A
    convolution with a residual writes over it: both have the same offset.
    """
    last_use = {program.output: len(program.operations)}
    for step, operation in enumerate(program.operations):
        for name in _reads(operation):
            last_use[name] = max(step, last_use.get(name, 0))
    offsets: dict[str, int] = {}
    live: dict[str, tuple[int, int]] = {}  # tensor -> (start, end)

    def place(name: str) -> None:
        tensor = program.tensors[name]
        size = int(np.prod(tensor.shape)) * batch * tensor.numpy_dtype.itemsize
        size += -size % LINE
        start = 0
        for begin, end in sorted(live.values()):
            if begin - start >= size:
                break
            start = max(start, end)
        offsets[name], live[name] = start, (start, start + size)

    place(program.input)
    top = live[program.input][1]
    for step, operation in enumerate(program.operations):
        residual = operation.residual if isinstance(operation, Convolution) else None
        if residual is None:
            place(operation.output)
        else:
            if last_use[residual] > step:
                raise ValueError(f"{operation.name}: its residual is read again later")
            offsets[operation.output], live[operation.output] = (
                offsets[residual],
                live.pop(residual),
            )
        top = max(top, live[operation.output][1])
        for name in [n for n in live if last_use.get(n, step) <= step]:
            del live[name]
    return offsets, top


def _reads(operation: Operation) -> list[str]:
    residual = operation.residual if isinstance(operation, Convolution) else None
    return [operation.source] if residual is None else [operation.source, residual]


@dataclass(frozen=True)
class _Batch:
    """A program made ready for one batch size."""

    steps: list[tuple[c_void_p, int, Any]]
    input_memory: c_void_p
    staging: NDArray[np.uint8]  # where samples are gathered that do not lie side by side
    output: NDArray[np.float32]
    kernels: list[Kernel]


class Executor:
    """Runs a compiled program on this process's OpenMP threads; one caller at a time.

    Raises ArtifactError where the artifact was made for another library, instruction set or shape.
    """

    def __init__(self, compiled: Artifact, batch_size: int, threads: int) -> None:
        self._lib = dnn.load()
        self._lib.set_threads(threads)
        self._compiled = compiled
        self.batch_size = batch_size
        here, made_for = machine_facts(self._lib, batch_size, threads), compiled.facts["machine"]
        if here != made_for:
            raise ArtifactError(f"{compiled.path}: made for {made_for}, this is {here}")
        shapes = compiled.facts["weight_shapes"]
        weights = {n: np.broadcast_to(np.int8(0), tuple(s)) for n, s in shapes.items()}
        self.program = from_description(compiled.facts["program"], weights)
        self._layouts = self._weight_layouts()
        self._constants: dict[str, c_void_p] = {}
        self._batches: dict[int, _Batch] = {}
        _, size = plan_buffers(self.program, batch_size)
        self._buffer = _huge_pages(size)
        # The last one is in use; primitives made earlier still hold those before it.
        self._scratchpads = [np.zeros(0, np.uint8)]

    def prepare(self) -> None:
        """Create the primitives of every batch size up to `batch_size`."""
        # The largest first: its scratchpad serves the others.
        for batch in range(self.batch_size, 0, -1):
            self._batch(batch)

    def run(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> NDArray[np.float32]:
        """Infer ``samples[positions]``: (len(positions), outputs), valid until the next call.

        `samples` is C-contiguous uint8 (n, H, W, C). Samples that lie side by side are read where
        they are; others are gathered first.
        """
        batch = self._batches.get(len(positions)) or self._batch(len(positions))
        first = positions[0]
        if positions[-1] - first + 1 == len(positions) and _consecutive(positions):
            address = samples.ctypes.data + first * samples.strides[0]
        else:
            np.take(samples, positions, axis=0, out=batch.staging, mode="clip")
            address = batch.staging.ctypes.data
        self._lib.set_address(batch.input_memory, address)
        execute, stream = self._lib.execute, self._lib.stream
        for primitive, count, arguments in batch.steps:
            if execute(primitive, stream, count, arguments):
                raise dnn.OneDNNError("a primitive failed")
        return batch.output

    def kernels(self, batch: int) -> list[Kernel]:
        """The kernels chosen for a batch size, in execution order."""
        return self._batch(batch).kernels

    def _weight_layouts(self) -> dict[str, c_void_p]:
        layouts: dict[str, c_void_p] = {}
        for operation in self.program.operations:
            if isinstance(operation, (Convolution, Linear)):
                weights = make_kernel(self._lib, self.program, operation, self.batch_size).weights
                assert weights is not None
                packed = self._compiled.arrays[f"{operation.name}.packed"]
                if self._lib.size(weights) != packed.nbytes:
                    raise ArtifactError(f"{self._compiled.path}: {operation.name} has another size")
                layouts[operation.name] = weights
        return layouts

    def _constant(self, name: str, descriptor: c_void_p) -> c_void_p:
        if name not in self._constants:
            address = self._compiled.arrays[name].ctypes.data
            self._constants[name] = self._lib.memory(descriptor, address)
        return self._constants[name]

    def _batch(self, batch: int) -> _Batch:
        if not 1 <= batch <= self.batch_size:
            raise ValueError(f"a batch of {batch}; this executor takes 1 to {self.batch_size}")
        if batch not in self._batches:
            self._batches[batch] = self._build(batch)
        return self._batches[batch]

    def _build(self, batch: int) -> _Batch:
        lib, program = self._lib, self.program
        kernels = [
            make_kernel(lib, program, operation, batch, self._layouts.get(operation.name))
            for operation in program.operations
        ]
        self._reserve_scratchpad(max(lib.size(kernel.scratchpad) for kernel in kernels))
        offsets, _ = plan_buffers(program, batch)
        base = self._buffer.ctypes.data
        input_memory = lib.memory(kernels[0].source, base + offsets[program.input])
        steps = [self._step(kernel, base, offsets, input_memory) for kernel in kernels]
        return _Batch(
            steps,
            input_memory,
            self._view(program.input, offsets, batch),
            self._view(program.output, offsets, batch),
            kernels,
        )

    def _view(self, name: str, offsets: dict[str, int], batch: int) -> NDArray[Any]:
        tensor = self.program.tensors[name]
        shape = (batch, *tensor.shape)
        size = int(np.prod(shape)) * tensor.numpy_dtype.itemsize
        data = self._buffer[offsets[name] : offsets[name] + size]
        return data.view(tensor.numpy_dtype).reshape(shape)

    def _reserve_scratchpad(self, size: int) -> None:
        if size > self._scratchpads[-1].nbytes:
            self._scratchpads.append(_huge_pages(size))

    def _step(
        self, kernel: Kernel, base: int, offsets: dict[str, int], input_memory: c_void_p
    ) -> tuple[c_void_p, int, Any]:
        lib, operation = self._lib, kernel.operation
        source = (
            input_memory
            if operation.source == self.program.input
            else lib.memory(kernel.source, base + offsets[operation.source])
        )
        arguments = [
            (dnn.ARG_SRC, source),
            (dnn.ARG_DST, lib.memory(kernel.output, base + offsets[operation.output])),
            (dnn.ARG_SCRATCHPAD, lib.memory(kernel.scratchpad, self._scratchpads[-1].ctypes.data)),
        ]
        if kernel.weights is not None:
            name = operation.name
            vector = lib.descriptor((len(self._compiled.arrays[f"{name}.bias"]),), "f32", (1,))
            arguments += [
                (dnn.ARG_WEIGHTS, self._constant(f"{name}.packed", kernel.weights)),
                (dnn.ARG_BIAS, self._constant(f"{name}.bias", vector)),
                (dnn.ARG_SCALES | dnn.ARG_WEIGHTS, self._constant(f"{name}.scales", vector)),
            ]
        primitive = lib.create("dnnl_primitive_create", kernel.descriptor)
        return primitive, len(arguments), dnn.exec_args(*arguments)


def _consecutive(positions: Sequence[int]) -> bool:
    return all(b - a == 1 for a, b in pairwise(positions))


def _huge_pages(size: int) -> NDArray[np.uint8]:
    """Zeroed private memory, aligned to huge pages, which it asks the kernel for."""
    memory = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    buffer = np.frombuffer(memory, np.uint8)
    start = -buffer.ctypes.data % HUGE_PAGE
    return buffer[start : start + max(size, LINE)]
