"""A static executor: everything is created before the first sample; a batch is a loop over calls.

A batch is run as the artifact's plan says: as it is, filled up to a larger one, or in parts (see
`batches`). It goes through the program's stages, through each in chunks (see `stages`). Every stage
and chunk size has primitives and buffers of its own; only the addresses of what a chunk reads and
writes change between chunks.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from ctypes import c_int, c_void_p, memmove
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifact import Artifact, ArtifactError
from models.program import Convolution, Linear, Operation, from_description
from netrun.engines.amx.routine import Arguments
from netrun.engines.amx.routine import Kernel as OwnKernel
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn import stages as cutting
from netrun.engines.onednn import tiles
from netrun.engines.onednn.layouts import Layouts, Weighted, packed_name
from netrun.engines.onednn.pack import machine_facts
from netrun.engines.onednn.primitives import Kernel, make_kernel
from netrun.engines.onednn.stages import chunks, plan_buffers, sample_bytes

LINE = 64
HUGE_PAGE = 2 << 20


Rows = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""Samples: one array of all, or one of each."""
Step = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments, ready to be called; it returns 0 or None."""


@dataclass(frozen=True)
class Running:
    """An operation and what computes it, such as ``brgconv:avx512_core_vnni``."""

    operation: Operation
    implementation: str


class _Operand:
    """What a chunk reads or writes: memories, and fields of our own kernels' arguments, that move
    together from chunk to chunk."""

    def __init__(self) -> None:
        self.memories: list[c_void_p] = []
        self.fields: list[tuple[Arguments, str]] = []
        self._address = 0

    def move(self, lib: dnn.Library, address: int) -> None:
        """Let all memories view the bytes at `address`."""
        if address != self._address:
            for memory in self.memories:
                lib.set_address(memory, address)
            for arguments, field in self.fields:
                setattr(arguments, field, address)
            self._address = address


@dataclass(frozen=True)
class _Chunk:
    """A stage made ready for one chunk size."""

    steps: list[Step]
    source: _Operand
    output: _Operand
    kernels: list[Running]
    exits: dict[str, _Operand]


@dataclass(frozen=True)
class _Part:
    """A chunk's place in a batch: its samples, and where it reads (None: the arena) and writes.

    `exits` are outputs of the program that are made on the way.
    """

    chunk: _Chunk
    start: int
    end: int
    source: int | None
    output: int
    exits: list[tuple[_Operand, int]]


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
        self.stages = cutting.from_description(self.program, compiled.facts["stages"])
        self._sizes: list[list[int]] = compiled.facts["batches"]
        self._rows = max(map(sum, self._sizes))
        self._layouts = Layouts(self._lib)
        self._threads = threads
        self._tiled: dict[str, list[int]] = compiled.facts["tiled"]
        self._possible = [tiles.in_stage(self.program, stage) for stage in self.stages]
        self._own: list[OwnKernel] = []  # kept alive for their steps
        self._constants: dict[str, c_void_p] = {}
        self._chunks: dict[tuple[int, int], _Chunk] = {}  # by stage and size
        self._batches: dict[int, list[_Part]] = {}
        sizes = [plan_buffers(self.program, stage, stage.chunk).size for stage in self.stages]
        self._inside = _huge_pages(max(sizes))
        self._outputs = self._place_outputs()
        self._results = self._place_results()
        self._row_shape = self._shape(self.program.input)
        self._row_bytes = sample_bytes(self.program, self.program.input)
        self._gathered = np.zeros((self.stages[0].chunk, *self._row_shape), np.uint8)
        self._gathered_at = int(self._gathered.ctypes.data)
        # The last one is in use; primitives made earlier still hold those before it.
        self._scratchpads = [np.zeros(0, np.uint8)]

    def prepare(self) -> None:
        """Create the primitives of every batch size up to `batch_size`."""
        # The largest first: its scratchpad serves the others.
        for batch in range(self.batch_size, 0, -1):
            self._batch(batch)

    def infer(self, rows: Rows) -> NDArray[np.float32]:
        """Infer samples: (len(rows), outputs), valid until the next call.

        Of several outputs it is the first; `results` has all.

        `rows` are uint8 (H, W, C) each, or one array of them. What a chunk reads is read where it
        is if its samples lie side by side, and gathered first if not. Raises ValueError for rows of
        another shape or type, and for more than `batch_size`.
        """
        return self._infer(self._addresses(rows))

    def run(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> NDArray[np.float32]:
        """Infer ``samples[positions]``, as `infer` does; `samples` is C-contiguous."""
        return self._infer(_addresses_at(samples, positions))

    def _infer(self, addresses: list[int]) -> NDArray[np.float32]:
        count = len(addresses)
        parts = self._batches.get(count) or self._batch(count)
        self._fill(addresses)
        for part in parts:
            self._aim(part, addresses)
            for call, arguments in part.chunk.steps:
                if call(*arguments):
                    raise dnn.OneDNNError("a primitive failed")
        result: NDArray[np.float32] = self._results[0][:count]
        return result

    def results(self, count: int) -> list[NDArray[Any]]:
        """All outputs of the last `count` samples, valid until the next call."""
        return [result[:count] for result in self._results]

    def profile(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> NDArray[np.int64]:
        """Nanoseconds that each operation takes in one pass over a batch, in program order.

        All run one after the other, so caches are as in a real pass. Each call of a chunk's kernel
        includes the call and the clock, about a microsecond.
        """
        spent = dict.fromkeys((operation.name for operation in self.program.operations), 0)
        parts = self._batch(len(positions))
        addresses = _addresses_at(samples, positions)
        self._fill(addresses)
        for part in parts:
            self._aim(part, addresses)
            for kernel, (call, arguments) in zip(part.chunk.kernels, part.chunk.steps, strict=True):
                begin = perf_counter_ns()
                call(*arguments)
                spent[kernel.operation.name] += perf_counter_ns() - begin
        return np.array(list(spent.values()), np.int64)

    def calls(self, batch: int) -> NDArray[np.int64]:
        """How many chunks of a batch each operation is called for, in program order."""
        counts = [
            sum(1 for size in self._sizes[batch - 1] for _ in chunks(size, stage.chunk))
            for stage in self.stages
            for _ in stage.operations
        ]
        return np.array(counts, np.int64)

    def kernels(self) -> list[Running]:
        """What computes each operation of a full batch, in its stage's largest chunk."""
        run = self._sizes[-1]
        return [
            kernel
            for index, stage in enumerate(self.stages)
            for kernel in self._chunk(index, max(cutting.sizes(stage, run))).kernels
        ]

    def _fill(self, addresses: list[int]) -> None:
        """Where the plan fills the batch up, add the last sample again and again."""
        addresses += addresses[-1:] * (sum(self._sizes[len(addresses) - 1]) - len(addresses))

    def _aim(self, part: _Part, addresses: list[int]) -> None:
        source = part.source
        if source is None:
            source = self._together(addresses[part.start : part.end])
        part.chunk.source.move(self._lib, source)
        part.chunk.output.move(self._lib, part.output)
        for operand, address in part.exits:
            operand.move(self._lib, address)

    def _together(self, addresses: list[int]) -> int:
        """The address where samples lie one behind the other."""
        size = self._row_bytes
        if all(b - a == size for a, b in pairwise(addresses)):
            return addresses[0]
        for place, address in enumerate(addresses):
            memmove(self._gathered_at + place * size, address, size)
        return self._gathered_at

    def _addresses(self, rows: Rows) -> list[int]:
        if isinstance(rows, np.ndarray):
            if (
                rows.shape[1:] == self._row_shape
                and rows.dtype == np.uint8
                and rows.flags.c_contiguous
            ):
                return _addresses_at(rows, range(len(rows)))
        elif all(
            row.shape == self._row_shape and row.dtype == np.uint8 and row.flags.c_contiguous
            for row in rows
        ):
            return [int(row.ctypes.data) for row in rows]
        raise ValueError(f"samples must be contiguous uint8 {list(self._row_shape)} each")

    def _place_outputs(self) -> list[NDArray[Any]]:
        """Room for every stage's output of a whole batch. Two buffers serve by turns.

        A stage that accumulates in place onto its source writes where it reads.
        """
        needed = [sample_bytes(self.program, stage.output) for stage in self.stages]
        turns: list[int] = []
        for stage in self.stages:
            in_place = stage.output in plan_buffers(self.program, stage, 1).at_source
            turns.append(turns[-1] if in_place else 1 - turns[-1] if turns else 0)
        buffers = [
            _huge_pages(
                self._rows
                * max([n for n, t in zip(needed, turns, strict=True) if t == turn], default=0)
            )
            for turn in (0, 1)
        ]
        outputs = []
        for stage, size, turn in zip(self.stages, needed, turns, strict=True):
            data = buffers[turn][: size * self._rows]
            dtype = self.program.tensors[stage.output].numpy_dtype
            outputs.append(data.view(dtype).reshape(self._rows, *self._shape(stage.output)))
        return outputs

    def _place_results(self) -> list[NDArray[Any]]:
        """The program's outputs: those of stages, and room for those that are made inside."""
        ends = {stage.output: rows for stage, rows in zip(self.stages, self._outputs, strict=True)}
        results = []
        for name in self.program.outputs:
            if name not in ends:
                size, dtype = sample_bytes(self.program, name), self.program.tensors[name]
                memory = _huge_pages(self._rows * size)[: self._rows * size]
                ends[name] = memory.view(dtype.numpy_dtype).reshape(self._rows, *dtype.shape)
            results.append(ends[name])
        return results

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.program.tensors[name].shape

    def _batch(self, batch: int) -> list[_Part]:
        if not 1 <= batch <= self.batch_size:
            raise ValueError(f"a batch of {batch}; this executor takes 1 to {self.batch_size}")
        if batch not in self._batches:
            self._batches[batch] = list(self._parts(batch))
        return self._batches[batch]

    def _parts(self, batch: int) -> Iterator[_Part]:
        done = 0
        for size in self._sizes[batch - 1]:
            for index, stage in enumerate(self.stages):
                output = self._outputs[index]
                for first, last in chunks(size, stage.chunk):
                    start, end = done + first, done + last
                    source = None if index == 0 else _address(self._outputs[index - 1], start)
                    chunk = self._chunk(index, end - start)
                    results = dict(zip(self.program.outputs, self._results, strict=True))
                    exits = [(o, _address(results[n], start)) for n, o in chunk.exits.items()]
                    yield _Part(chunk, start, end, source, _address(output, start), exits)
            done += size

    def _chunk(self, index: int, size: int) -> _Chunk:
        key = (index, size)
        if key not in self._chunks:
            self._chunks[key] = self._build(index, size)
        return self._chunks[key]

    def _build(self, index: int, size: int) -> _Chunk:
        lib, program, stage = self._lib, self.program, self.stages[index]
        own = {
            name: tiled
            for name, tiled in self._possible[index].items()
            if size in self._tiled.get(name, ())
        }
        included = {tiled.behind.name for tiled in own.values() if tiled.behind is not None}
        kernels = {
            operation.name: make_kernel(lib, program, operation, size)
            for operation in stage.operations
            if operation.name not in own and operation.name not in included
        }
        self._reserve_scratchpad(
            max((lib.size(kernel.scratchpad) for kernel in kernels.values()), default=0)
        )
        buffers = plan_buffers(program, stage, size)
        source, output = _Operand(), _Operand()
        exits = {name: _Operand() for name in stage.exits(program)}

        def operand(name: str) -> _Operand | None:
            if name in buffers.at_source:
                return source
            return output if name in buffers.at_output else exits.get(name)

        def inside(name: str) -> int:
            return _address(self._inside, buffers.inside.get(name, 0))

        def memory(name: str, descriptor: c_void_p) -> c_void_p:
            made = lib.memory(descriptor, inside(name))
            if moving := operand(name):
                moving.memories.append(made)
            return made

        def field(arguments: Arguments, place: str, name: str) -> None:
            setattr(arguments, place, inside(name))
            if moving := operand(name):
                moving.fields.append((arguments, place))

        steps, running = [], []
        for operation in stage.operations:
            if operation.name in kernels:
                kernel = kernels[operation.name]
                steps.append(self._step(kernel, memory))
                running.append(Running(operation, kernel.implementation(lib)))
            else:
                if operation.name in own:
                    steps.append(self._own_step(own[operation.name], size, field))
                else:
                    steps.append((_nothing, ()))
                running.append(Running(operation, tiles.IMPLEMENTATION))
        return _Chunk(steps, source, output, running, exits)

    def _own_step(
        self, tiled: tiles.Tiled, size: int, field: Callable[[Arguments, str, str], None]
    ) -> Step:
        kernel = tiled.make(self._lib, size, self._threads, self._compiled)
        self._own.append(kernel)
        field(kernel.arguments, "source", tiled.operation.source)
        field(kernel.arguments, "output", tiled.output)
        if tiled.operation.residual is not None:
            field(kernel.arguments, "residual", tiled.operation.residual)
        return kernel.function, (kernel.pointer,)

    def _reserve_scratchpad(self, size: int) -> None:
        if size > self._scratchpads[-1].nbytes:
            self._scratchpads.append(_huge_pages(size))

    def _step(self, kernel: Kernel, memory: Callable[[str, c_void_p], c_void_p]) -> Step:
        lib, operation = self._lib, kernel.operation
        scratchpad = lib.memory(kernel.scratchpad, _address(self._scratchpads[-1], 0))
        arguments = [
            (dnn.ARG_SRC, memory(operation.source, kernel.source)),
            (dnn.ARG_DST, memory(operation.output, kernel.output)),
            (dnn.ARG_SCRATCHPAD, scratchpad),
        ]
        if isinstance(operation, (Convolution, Linear)):
            assert kernel.weights is not None
            name, packed = operation.name, self._packed(operation, kernel.weights)
            vector = lib.descriptor((len(self._compiled.arrays[f"{name}.bias"]),), "f32", (1,))
            arguments += [
                (dnn.ARG_WEIGHTS, self._constant(packed, kernel.weights)),
                (dnn.ARG_BIAS, self._constant(f"{name}.bias", vector)),
                (dnn.ARG_SCALES | dnn.ARG_WEIGHTS, self._constant(f"{name}.scales", vector)),
            ]
        primitive = lib.create("dnnl_primitive_create", kernel.descriptor)
        made = dnn.exec_args(*arguments)
        return lib.execute, (primitive, lib.stream, c_int(len(made)), made)

    def _packed(self, operation: Weighted, layout: c_void_p) -> str:
        """The name of the weights in `layout`; raises ArtifactError where they are not there."""
        known, name = self._layouts, operation.name
        if not known.count(operation):
            for user, size in self._firsts(operation.layer):
                first = make_kernel(self._lib, self.program, user, size).weights
                assert first is not None
                known.add(operation, first)
        number = known.find(operation, layout)
        if number is None:
            raise ArtifactError(f"{self._compiled.path}: {name} wants a layout that is not there")
        packed = packed_name(operation, number)
        if self._lib.size(layout) != self._compiled.arrays[packed].nbytes:
            raise ArtifactError(f"{self._compiled.path}: {name} has another size")
        return packed

    def _firsts(self, layer: str) -> Iterator[tuple[Weighted, int]]:
        """The operations and chunk sizes that first want each layout of a layer's weights."""
        for operation in self.program.operations:
            if isinstance(operation, (Convolution, Linear)) and operation.layer == layer:
                for size in self._compiled.facts["layouts"].get(operation.name, ()):
                    yield operation, size

    def _constant(self, name: str, descriptor: c_void_p) -> c_void_p:
        if name not in self._constants:
            address = _address(self._compiled.arrays[name], 0)
            self._constants[name] = self._lib.memory(descriptor, address)
        return self._constants[name]


def _nothing() -> None:
    """The step of an operation that the one before it includes."""


def _address(array: NDArray[Any], row: int) -> int:
    return int(array.ctypes.data) + row * array.strides[0]


def _addresses_at(samples: NDArray[np.uint8], positions: Sequence[int]) -> list[int]:
    first, step = int(samples.ctypes.data), samples.strides[0]
    return [first + position * step for position in positions]


def _huge_pages(size: int) -> NDArray[np.uint8]:
    """Zeroed private memory, aligned to huge pages, which it asks the kernel for."""
    memory = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    buffer = np.frombuffer(memory, np.uint8)
    start = -buffer.ctypes.data % HUGE_PAGE
    return buffer[start : start + max(size, LINE)]
