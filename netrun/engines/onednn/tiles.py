"""Operations that kernels of our own compute on AMX, and when: where they were measured faster.

oneDNN's kernels spend most of a layer of few channels behind the product: on scales, residual and
rounding. Those of `netrun.engines.amx` do that beside the product, a ResNet's stem together with
the pooling behind it, and fill their tiles where images are small. Their answers are the same to
the bit, so that each operation and chunk size can take whichever is faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.artifact import Artifact
from models.program import Convolution, MaxPool, Operation, Program, Tensor
from netrun.engines.amx import (
    Gathered,
    Kernel,
    Pointwise,
    Stem,
    pack_factors,
    supported,
    within_range,
)
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.primitives import Arrays, folded_constants
from netrun.engines.onednn.stages import Stage

IMPLEMENTATION = "loadrun:amx_int8"
SATURATES = 255
"""Storing as uint8 does it by itself: an upper bound above it is free."""

SMALL = 15
"""Outputs of a row, at most, for windows to be laid out first: less than a tile has rows."""


@dataclass(frozen=True)
class Tiled:
    """What a kernel of ours computes: `operation`, and `behind` it the pooling that it includes."""

    operation: Convolution
    layer: Pointwise | Gathered | Stem
    behind: MaxPool | None = None

    @property
    def output(self) -> str:
        """The tensor that it writes."""
        return (self.behind or self.operation).output

    @property
    def names(self) -> tuple[str, str]:
        """The names of its packed weights and factors among the arrays of an artifact."""
        return f"{self.operation.name}.tiles", f"{self.operation.name}.factors"

    def usable(self, lib: dnn.Library, program: Program) -> bool:
        """Whether it runs here, under ONEDNN_MAX_CPU_ISA, and on these weights."""
        name, residual = self.operation.name, self.operation.residual
        folded = folded_constants(program, self.operation)
        scale = 0.0
        if residual is not None:
            target = program.tensors[self.operation.output]
            scale = program.tensors[residual].scale / target.scale
        return supported(lib.isa, self.layer) and within_range(
            program.constants[f"{self.operation.layer}.weight"],
            folded[f"{name}.scales"],
            folded[f"{name}.bias"],
            scale,
        )

    def arrays(self, program: Program) -> Arrays:
        """Weights (uint8) and factors (float32) as the kernel reads them."""
        weights, factors = self.names
        folded, name = folded_constants(program, self.operation), self.operation.name
        return {
            weights: self.layer.pack(program.constants[f"{self.operation.layer}.weight"]),
            factors: pack_factors(folded[f"{name}.scales"], folded[f"{name}.bias"]),
        }

    def make(self, lib: dnn.Library, samples: int, threads: int, compiled: Artifact) -> Kernel:
        """The kernel for a chunk of `samples`."""
        weights, factors = (compiled.arrays[name] for name in self.names)
        return self.layer.make(samples, threads, weights, factors, lib.openmp)


def in_stage(program: Program, stage: Stage) -> dict[str, Tiled]:
    """By the operation's name: what kernels of ours could compute of a stage."""
    found = {}
    for place, operation in enumerate(stage.operations):
        if isinstance(operation, Convolution):
            behind = stage.operations[place + 1 : place + 2]
            tiled = (
                _gathered(program, operation)
                or _pointwise(program, operation)
                or _stem(program, operation, *behind)
            )
            if tiled is not None:
                found[operation.name] = tiled
    return found


def _pointwise(program: Program, operation: Convolution) -> Tiled | None:
    out_channels, channels, *kernel = program.constants[f"{operation.layer}.weight"].shape
    if kernel != [1, 1] or operation.groups != 1 or any(operation.padding):
        return None
    source, target = program.tensors[operation.source], program.tensors[operation.output]
    (height, width), stride = target.shape[:2], operation.stride[0]
    if operation.stride[1] != stride or (height * stride, width * stride) != source.shape[:2]:
        return None
    residual = None if operation.residual is None else program.tensors[operation.residual]
    layer = Pointwise(
        *(height, width, channels, out_channels, stride, source.dtype, target.dtype),
        residual=None if residual is None else residual.dtype,
        residual_scale=0.0 if residual is None else residual.scale / target.scale,
        relu=operation.clamp is not None,
        bound=_bound(operation, target),
    )
    return Tiled(operation, layer) if layer.fits else None


def _gathered(program: Program, operation: Convolution) -> Tiled | None:
    source, target = program.tensors[operation.source], program.tensors[operation.output]
    height, width = target.shape[:2]
    out_channels, channels, *kernel = program.constants[f"{operation.layer}.weight"].shape
    if (
        width > SMALL
        or operation.residual is not None
        or operation.groups != 1
        or kernel[0] != kernel[1]
        or operation.stride[0] != operation.stride[1]
    ):
        return None
    layer = Gathered(
        *(height, width, channels, out_channels, kernel[0], operation.stride[0]),
        padding=(operation.padding[0], operation.padding[2]),
        source_height=source.shape[0],
        source_width=source.shape[1],
        source=source.dtype,
        output=target.dtype,
        relu=operation.clamp is not None,
        bound=_bound(operation, target),
    )
    return Tiled(operation, layer) if layer.fits else None


def _bound(operation: Convolution, target: Tensor) -> float | None:
    bound = math.inf if operation.clamp is None else operation.clamp / target.scale
    return bound if bound < SATURATES else None


def _stem(
    program: Program, operation: Convolution, behind: Operation | None = None
) -> Tiled | None:
    if not isinstance(behind, MaxPool) or behind.source != operation.output:
        return None
    source, target = program.tensors[operation.source], program.tensors[operation.output]
    height, width, out_channels = target.shape
    like_a_stem = (
        program.constants[f"{operation.layer}.weight"].shape == (out_channels, 3, 7, 7)
        and operation.stride == (2, 2)
        and not any(operation.padding)
        and operation.residual is None
        and operation.clamp == math.inf
        and source.shape == (2 * height + 6, 2 * width + 6, 3)
        and (source.dtype, target.dtype) == ("u8", "u8")
    )
    pools_by_two = (
        behind.kernel == (3, 3)
        and behind.stride == (2, 2)
        and behind.padding[::2] == (1, 1)
        and program.tensors[behind.output].shape[:2] == (height // 2, width // 2)
    )
    layer = Stem(height, width, out_channels)
    if like_a_stem and pools_by_two and layer.fits:
        return Tiled(operation, layer, behind)
    return None


def faster(
    plain_ns: Mapping[str, Mapping[int, float]],
    tiled_ns: Mapping[str, Mapping[int, float]],
    chunk_sizes: Mapping[str, list[int]],
    worth: float,
) -> dict[str, list[int]]:
    """For each operation, the chunk sizes at which our kernel took less than `worth` of oneDNN's.

    Times are by operation and size, of some sizes; one that was not measured does as the next
    smaller that was. Operations without such a size are left out.
    """
    found = {}
    for name, sizes in chunk_sizes.items():
        better = {size: tiled_ns[name][size] < worth * ns for size, ns in plain_ns[name].items()}
        chosen = [size for size in sizes if better[max(m for m in better if m <= size)]]
        if chosen:
            found[name] = chosen
    return found
