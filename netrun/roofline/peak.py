"""The int8 peak: the best rate that the library's kernels reach here on shapes that suit them.

Layers of common shapes, whose data stay in the caches close to a core and that have no padding, are
compiled and run as any program is. One sample goes to each core, or 256 rows of a matrix.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from base.processors import cache_bytes
from models.program import Convolution, Linear, Operation, Program, Tensor
from netrun.engines.onednn.batches import filled
from netrun.engines.onednn.compiler import packed
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.stages import cut
from netrun.roofline.layers import Passes, useful_macs
from netrun.roofline.measurement import Rate

ROWS = 256
REPEATS = 7
# Kernel, plane of outputs, channels in and out.
CONVOLUTIONS = (
    (3, 14, 256, 256),
    (3, 14, 128, 128),
    (3, 28, 128, 128),
    (3, 28, 64, 64),
    (1, 14, 512, 256),
    (1, 16, 512, 512),
    (1, 28, 256, 256),
)
MATRICES = ((512, 256), (1024, 256))


class Probe:
    """One layer, measured again and again."""

    def __init__(self, name: str, program: Program, batch: int, threads: int) -> None:
        self.name = name
        compiled = packed(
            program, cut(program, batch, cache_bytes(threads)), filled(batch), threads
        )
        self._executor = Executor(compiled, batch, threads)
        shape = (batch, *program.tensors[program.input].shape)
        self._samples = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        (operation,) = program.operations
        self._macs = useful_macs(program, operation) * batch
        self._best_ns = math.inf

    def measure(self) -> None:
        """One round: the median of a few repetitions after one that warms the caches."""
        passes = Passes(self._executor, self._samples)
        passes.warm()
        for _ in range(REPEATS):
            passes.measure()
        self._best_ns = min(self._best_ns, float(passes.kernels_ns()[0]))

    def rate(self) -> Rate:
        """The best round."""
        (kernel,) = self._executor.kernels()
        return Rate(self.name, kernel.implementation, self._macs / self._best_ns * 1e9)


def probes(threads: int) -> list[Probe]:
    """All probes, compiled."""
    shapes = [
        *(
            (f"{k}x{k} {i}->{o} on {n}x{n}", convolution(k, n, i, o), 1)
            for k, n, i, o in CONVOLUTIONS
        ),
        *((f"matrix {i}->{o}", matrix(i, o), ROWS) for i, o in MATRICES),
    ]
    return [Probe(name, program, batch * threads, threads) for name, program, batch in shapes]


def convolution(kernel: int, plane: int, channels: int, out_channels: int) -> Program:
    """A square convolution with ReLU, without padding."""
    size = plane + kernel - 1
    tensors = {
        "input": Tensor((size, size, channels), "u8"),
        "output": Tensor((plane, plane, out_channels), "u8"),
    }
    operation = Convolution("layer", "input", "output", (1, 1), (0, 0, 0, 0), clamp=math.inf)
    return _program(operation, tensors, (out_channels, channels, kernel, kernel))


def matrix(channels: int, out_channels: int) -> Program:
    """A linear layer; a batch of it is a product of matrices."""
    tensors = {
        "input": Tensor((1, 1, channels), "u8"),
        "output": Tensor((out_channels,), "f32"),
    }
    return _program(Linear("layer", "input", "output"), tensors, (out_channels, channels))


def _program(operation: Operation, tensors: dict[str, Tensor], shape: tuple[int, ...]) -> Program:
    constants: dict[str, Any] = {
        "layer.weight": np.random.default_rng(0).integers(-64, 65, shape, dtype=np.int8),
        "layer.scales": np.full(shape[0], 1e-4, np.float32),
        "layer.bias": np.zeros(shape[0], np.float32),
    }
    return Program("input", "output", tensors, (operation,), constants)
