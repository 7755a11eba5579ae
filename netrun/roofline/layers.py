"""The work of a program's operations, and the time that each takes inside real passes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from ctypes import c_int
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.program import Convolution, Linear, MaxPool, Operation, Program
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.executor import Executor
from netrun.roofline.measurement import Layer

CALLS = 2000


def useful_macs(program: Program, operation: Operation) -> int:
    """Multiply-accumulate operations per sample, without those on padding, which kernels skip.

    `Program.macs` counts padding as well, as is usual where networks are compared.
    """
    if isinstance(operation, Linear):
        return int(program.constants[f"{operation.layer}.weight"].size)
    if not isinstance(operation, Convolution):
        return 0
    out_channels, in_channels = program.constants[f"{operation.layer}.weight"].shape[:2]
    rows, columns = (sum(map(len, axis)) for axis in _windows(program, operation))
    return int(out_channels) * int(in_channels) * rows * columns


def _windows(program: Program, operation: Convolution | MaxPool) -> list[list[range]]:
    """For rows, then columns: the inputs that each output reads; padding is none of them."""
    if isinstance(operation, MaxPool):
        kernel: tuple[int, ...] = operation.kernel
    else:
        kernel = program.constants[f"{operation.layer}.weight"].shape[2:]
    source, output = program.tensors[operation.source], program.tensors[operation.output]
    axes = []
    for axis in (0, 1):
        starts = (
            np.arange(output.shape[axis]) * operation.stride[axis] - operation.padding[2 * axis]
        )
        size = source.shape[axis]
        axes.append([range(max(s, 0), min(s + kernel[axis], size)) for s in starts.tolist()])
    return axes


def touched_bytes(program: Program, operation: Operation, batch: int) -> int:
    """Bytes that one batch must read and write: activations, residual, weights, bias, scales.

    Of the source only what some window covers: a 1x1 convolution of stride 2 reads a quarter.
    """
    source = program.tensors[operation.source]
    elements = int(np.prod(source.shape))
    if isinstance(operation, (Convolution, MaxPool)):
        rows, columns = (len(set().union(*axis)) for axis in _windows(program, operation))
        elements = rows * columns * source.shape[-1]
    moved = elements * source.numpy_dtype.itemsize
    written = [operation.output]
    if isinstance(operation, Convolution) and operation.residual is not None:
        written.append(operation.residual)
    tensors = [program.tensors[name] for name in written]
    moved += sum(int(np.prod(t.shape)) * t.numpy_dtype.itemsize for t in tensors)
    moved *= batch
    if isinstance(operation, (Convolution, Linear)):
        weight = program.constants[f"{operation.layer}.weight"]
        moved += int(weight.size) + 2 * 4 * int(weight.shape[0])
    return moved


@dataclass
class Passes:
    """Times of many passes over a batch, in nanoseconds: of each kernel and of whole runs."""

    executor: Executor
    samples: NDArray[np.uint8]
    widened: Mapping[str, int] = field(default_factory=dict)
    """By operation: how many groups were put together. Products with zeros between are no work."""

    def __post_init__(self) -> None:
        self._steps: list[NDArray[np.int64]] = []
        self._wholes: list[int] = []
        self._call_ns = call_ns(dnn.load())
        self._random = np.random.default_rng(0)

    def warm(self) -> None:
        """One pass that does not count: other work has been through the caches."""
        self._pass()

    def measure(self) -> None:
        """One pass kernel by kernel and one whole run, over scattered samples."""
        steps, whole = self._pass()
        self._steps.append(steps)
        self._wholes.append(whole)

    def __len__(self) -> int:
        return len(self._wholes)

    def kernels_ns(self) -> NDArray[np.float64]:
        """The median of each kernel, all its chunks, without the cost of calls and the clock."""
        medians: NDArray[np.float64] = np.median(np.stack(self._steps), axis=0)
        calls = self.executor.calls(self.executor.batch_size)
        return np.maximum(medians - calls * self._call_ns, 1.0)

    def whole_ns(self) -> float:
        """The median of whole runs."""
        return float(np.median(self._wholes))

    def layers(self) -> tuple[Layer, ...]:
        """Each operation on a batch, with its median time."""
        program, batch = self.executor.program, self.executor.batch_size
        return tuple(
            Layer(
                name=kernel.operation.name,
                source=_shape(program, kernel.operation.source),
                output=_shape(program, kernel.operation.output),
                kernel=kernel.implementation,
                macs=useful_macs(program, kernel.operation)
                * batch
                // self.widened.get(kernel.operation.name, 1),
                bytes=touched_bytes(program, kernel.operation, batch),
                seconds=float(ns) / 1e9,
            )
            for kernel, ns in zip(self.executor.kernels(), self.kernels_ns(), strict=True)
        )

    def macs_with_padding(self) -> int:
        """The work of a sample as networks are usually compared."""
        macs = self.executor.program.macs()
        return sum(count // self.widened.get(name, 1) for name, count in macs.items())

    def _pass(self) -> tuple[NDArray[np.int64], int]:
        batch = self.executor.batch_size
        positions = self._random.integers(0, len(self.samples), batch).tolist()
        began = time.perf_counter_ns()
        self.executor.run(self.samples, positions)
        whole = time.perf_counter_ns() - began
        return self.executor.profile(self.samples, positions), whole


def _shape(program: Program, name: str) -> tuple[int, ...]:
    return tuple(program.tensors[name].shape)


def call_ns(lib: dnn.Library) -> float:
    """What calling a primitive and reading the clock cost, by a call that returns at once."""
    arguments = dnn.exec_args(*[(dnn.ARG_SRC, lib.engine)] * 6)
    clock, six = np.empty(CALLS + 1, np.int64), c_int(6)
    for i in range(CALLS + 1):
        lib.execute(None, lib.stream, six, arguments)
        clock[i] = time.perf_counter_ns()
    return float(np.median(np.diff(clock)))
