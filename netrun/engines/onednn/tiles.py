"""Operations that kernels of our own compute on AMX, and when: where they were measured faster.

oneDNN's kernels spend most of a layer of few channels behind the product: on scales, residual and
rounding. Those of `netrun.engines.amx` do that beside the product. Their answers are the same to
the bit, so that each operation and chunk size can take whichever is faster.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.artifact import Artifact
from models.program import Convolution, Operation, Program
from netrun.engines.amx.pointwise import Pointwise
from netrun.engines.amx.routine import AMX_BITS, Kernel, pack_factors, permitted
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.primitives import Arrays, folded_constants

IMPLEMENTATION = "loadrun:amx_int8"
SATURATES = 255
"""Storing as uint8 does it by itself: an upper bound above it is free."""


def usable(lib: dnn.Library) -> bool:
    """Whether the instruction set in use, after ONEDNN_MAX_CPU_ISA, has tiles."""
    return lib.isa & AMX_BITS == AMX_BITS and permitted()


def layer(program: Program, operation: Operation) -> Pointwise | None:
    """What a kernel of ours would compute for `operation`; None where there is none."""
    if not isinstance(operation, Convolution) or operation.groups != 1 or any(operation.padding):
        return None
    out_channels, channels, *kernel = program.constants[f"{operation.name}.weight"].shape
    if kernel != [1, 1] or operation.stride[0] != operation.stride[1]:
        return None
    source, target = program.tensors[operation.source], program.tensors[operation.output]
    height, width = target.shape[:2]
    stride = operation.stride[0]
    if (height * stride, width * stride) != source.shape[:2]:
        return None
    residual = None if operation.residual is None else program.tensors[operation.residual]
    bound = None if operation.clamp is None else operation.clamp / target.scale
    found = Pointwise(
        *(height, width, channels, out_channels, stride, source.dtype, target.dtype),
        residual=None if residual is None else residual.dtype,
        residual_scale=0.0 if residual is None else residual.scale / target.scale,
        relu=operation.clamp is not None,
        bound=None if bound is None or bound >= SATURATES else bound,
    )
    return found if found.fits else None


def names(operation: Operation) -> tuple[str, str]:
    """The names of an operation's packed weights and factors among the arrays of an artifact."""
    return f"{operation.name}.tiles", f"{operation.name}.factors"


def arrays(program: Program, operation: Convolution, computed: Pointwise) -> Arrays:
    """Weights (uint8) and factors (float32) as the kernel reads them."""
    weights, factors = names(operation)
    folded = folded_constants(program, operation)
    scales, bias = folded[f"{operation.name}.scales"], folded[f"{operation.name}.bias"]
    return {
        weights: computed.pack(program.constants[f"{operation.name}.weight"]),
        factors: pack_factors(scales, bias),
    }


def make(
    lib: dnn.Library,
    program: Program,
    operation: Operation,
    samples: int,
    threads: int,
    compiled: Artifact,
) -> Kernel:
    """The kernel for a chunk of `samples`; raises ValueError where the artifact has none."""
    computed = layer(program, operation)
    if computed is None:
        raise ValueError(f"{operation.name} has no kernel of our own")
    weights, factors = names(operation)
    stored = compiled.arrays
    return computed.make(samples, threads, stored[weights], stored[factors], lib.openmp)


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
