"""One oneDNN primitive for each operation of a program, at one batch size.

Requantisation is folded into constants, so that kernels carry as little as possible: weight scales
become ``source.scale * weight scale / output.scale``, biases and clamps are divided by the output's
scale, and a residual is added with the ratio of its scale to the output's. Activations are NHWC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from ctypes import c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.program import Convolution, Linear, MaxPool, Operation, Program, Tensor, Upsample
from netrun.engines.onednn import library as dnn

Arrays = Mapping[str, NDArray[Any]]
REFERENCE = "ref"


@dataclass(frozen=True)
class Kernel:
    """A primitive descriptor and what it needs to run."""

    operation: Operation
    descriptor: c_void_p
    source: c_void_p  # memory descriptors of its operands
    output: c_void_p
    weights: c_void_p | None
    scratchpad: c_void_p

    def implementation(self, lib: dnn.Library) -> str:
        """The kernel that oneDNN chose, such as ``brgconv:avx512_core_vnni``."""
        return lib.implementation(self.descriptor)

    def is_reference(self, lib: dnn.Library) -> bool:
        """Whether oneDNN has nothing but its reference, which is a thousand times slower."""
        return self.implementation(lib).startswith(REFERENCE)


def folded_constants(program: Program, operation: Convolution | Linear) -> Arrays:
    """Scales and bias (float32) of one operation in units of its output's scale."""
    source, output = program.tensors[operation.source], program.tensors[operation.output]
    scales = program.constants[f"{operation.layer}.scales"].astype(np.float64)
    bias = program.constants[f"{operation.layer}.bias"].astype(np.float64) - output.offset
    return {
        f"{operation.name}.scales": (scales * source.scale / output.scale).astype(np.float32),
        f"{operation.name}.bias": (bias / output.scale).astype(np.float32),
    }


def activation_descriptor(lib: dnn.Library, tensor: Tensor, batch: int) -> c_void_p:
    """Channels-last memory of `batch` samples: logical NCHW, or NC for vectors."""
    if len(tensor.shape) == 1:
        (channels,) = tensor.shape
        return lib.descriptor((batch, channels), tensor.dtype, (channels, 1))
    height, width, channels = tensor.shape
    strides = (height * width * channels, 1, width * channels, channels)
    return lib.descriptor((batch, channels, height, width), tensor.dtype, strides)


def make_kernel(lib: dnn.Library, program: Program, operation: Operation, batch: int) -> Kernel:
    """The kernel that oneDNN chooses for `operation` at `batch`, and with it a weight layout.

    The layout is never forced: see `layouts`.
    """
    source = activation_descriptor(lib, program.tensors[operation.source], batch)
    output = activation_descriptor(lib, program.tensors[operation.output], batch)
    if isinstance(operation, Convolution):
        descriptor = _convolution(lib, program, operation, source, output)
    elif isinstance(operation, Linear):
        descriptor, source, output = _linear(lib, program, operation, batch)
    elif isinstance(operation, Upsample):
        descriptor = _upsample(lib, source, output)
    else:
        descriptor = _max_pool(lib, operation, source, output)
    weighted = isinstance(operation, (Convolution, Linear))
    return Kernel(
        operation,
        descriptor,
        source,
        output,
        lib.query_descriptor(descriptor, dnn.QUERY_WEIGHTS) if weighted else None,
        lib.query_descriptor(descriptor, dnn.QUERY_SCRATCHPAD),
    )


def plain_weights(lib: dnn.Library, program: Program, operation: Convolution | Linear) -> c_void_p:
    """Descriptor of the weights as the program stores them: dense, output channel first."""
    shape = weight_shape(lib, program, operation)
    strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
    return lib.descriptor(shape, "s8", strides)


def weight_shape(
    lib: dnn.Library, program: Program, operation: Convolution | Linear
) -> tuple[int, ...]:
    """Shape of the weights that the kernel asks for.

    (out, in, kh, kw); grouped (g, out / g, in / g, kh, kw); linear (out, in), or (out, in, 1, 1)
    where a convolution computes it.
    """
    shape = program.constants[f"{operation.layer}.weight"].shape
    if isinstance(operation, Linear):
        return (*shape, 1, 1) if _convolved(lib, shape) else shape
    groups = operation.groups
    return shape if groups == 1 else (groups, shape[0] // groups, *shape[1:])


def _attributes(lib: dnn.Library, scales_mask: int | None = None) -> c_void_p:
    attributes = lib.create("dnnl_primitive_attr_create")
    lib.call("dnnl_primitive_attr_set_scratchpad_mode", attributes, dnn.SCRATCHPAD_USER)
    if scales_mask is not None:
        lib.call("dnnl_primitive_attr_set_scales_mask", attributes, dnn.ARG_WEIGHTS, scales_mask)
    return attributes


def _convolution(
    lib: dnn.Library,
    program: Program,
    operation: Convolution,
    source: c_void_p,
    output: c_void_p,
) -> c_void_p:
    target = program.tensors[operation.output]
    post_ops = lib.create("dnnl_post_ops_create")
    if operation.residual is not None:
        residual = program.tensors[operation.residual]
        lib.call(
            "dnnl_post_ops_append_sum",
            *(post_ops, residual.scale / target.scale, 0, dnn.DATA_TYPES[residual.dtype]),
        )
    if operation.clamp is not None:
        bound = operation.clamp / target.scale
        # Storing as uint8 saturates at 255 by itself; an upper bound above that is free.
        algorithm = dnn.ELTWISE_RELU if bound >= 255 else dnn.ELTWISE_CLIP
        upper = 0.0 if math.isinf(bound) or bound >= 255 else bound
        lib.call("dnnl_post_ops_append_eltwise", post_ops, algorithm, 0.0, upper)
    shape = weight_shape(lib, program, operation)
    attributes = _attributes(lib, scales_mask=1 if operation.groups == 1 else 3)
    lib.call("dnnl_primitive_attr_set_post_ops", attributes, post_ops)
    top, bottom, left, right = operation.padding
    return lib.create(
        "dnnl_convolution_forward_primitive_desc_create",
        *(lib.engine, dnn.FORWARD_INFERENCE, dnn.CONVOLUTION_DIRECT, source),
        lib.any_descriptor(shape, "s8"),
        lib.descriptor((target.shape[-1],), "f32", (1,)),
        output,
        *(dnn.dims(operation.stride), dnn.dims((0, 0))),
        *(dnn.dims((top, left)), dnn.dims((bottom, right)), attributes),
    )


def _linear(
    lib: dnn.Library, program: Program, operation: Linear, batch: int
) -> tuple[c_void_p, c_void_p, c_void_p]:
    """Primitive descriptor, source and output of a linear layer."""
    shape = program.constants[f"{operation.name}.weight"].shape
    types = (program.tensors[operation.source].dtype, program.tensors[operation.output].dtype)
    attributes = _attributes(lib, scales_mask=1)
    if not _convolved(lib, shape):
        return _inner_product(lib, shape, types, batch, attributes)
    # Samples stand side by side as the columns of one row, so that a kernel takes several at once.
    source, output = (
        lib.descriptor((1, size, 1, batch), dtype, (size * batch, 1, size * batch, size))
        for size, dtype in zip(shape[::-1], types, strict=True)
    )
    descriptor = lib.create(
        "dnnl_convolution_forward_primitive_desc_create",
        *(lib.engine, dnn.FORWARD_INFERENCE, dnn.CONVOLUTION_DIRECT, source),
        lib.any_descriptor((*shape, 1, 1), "s8"),
        lib.descriptor(shape[:1], "f32", (1,)),
        output,
        *(dnn.dims((1, 1)), dnn.dims((0, 0)), dnn.dims((0, 0)), dnn.dims((0, 0)), attributes),
    )
    return descriptor, source, output


def _inner_product(
    lib: dnn.Library,
    shape: tuple[int, ...],
    types: tuple[str, str],
    batch: int,
    attributes: c_void_p,
) -> tuple[c_void_p, c_void_p, c_void_p]:
    source, output = (
        lib.descriptor((batch, size), dtype, (size, 1))
        for size, dtype in zip(shape[::-1], types, strict=True)
    )
    descriptor = lib.create(
        "dnnl_inner_product_forward_primitive_desc_create",
        *(lib.engine, dnn.FORWARD_INFERENCE, source),
        lib.any_descriptor(shape, "s8"),
        lib.descriptor(shape[:1], "f32", (1,)),
        *(output, attributes),
    )
    return descriptor, source, output


def _convolved(lib: dnn.Library, shape: tuple[int, ...]) -> bool:
    """Whether a 1x1 convolution computes a linear layer of this weight shape.

    Without VNNI oneDNN's inner product is a general matrix product that packs its weights anew on
    every call, which costs several times the product itself.
    """
    descriptor, _, _ = _inner_product(lib, shape, ("u8", "f32"), 1, _attributes(lib, 1))
    return "gemm" in lib.implementation(descriptor)


def _max_pool(lib: dnn.Library, operation: MaxPool, source: c_void_p, output: c_void_p) -> c_void_p:
    top, bottom, left, right = operation.padding
    return lib.create(
        "dnnl_pooling_forward_primitive_desc_create",
        *(lib.engine, dnn.FORWARD_INFERENCE, dnn.POOLING_MAX, source, output),
        *(dnn.dims(operation.stride), dnn.dims(operation.kernel), dnn.dims((0, 0))),
        *(dnn.dims((top, left)), dnn.dims((bottom, right)), _attributes(lib)),
    )


def _upsample(lib: dnn.Library, source: c_void_p, output: c_void_p) -> c_void_p:
    """By whole factors, nearest means the same to everybody."""
    return lib.create(
        "dnnl_resampling_forward_primitive_desc_create",
        *(lib.engine, dnn.FORWARD_INFERENCE, dnn.RESAMPLING_NEAREST, None, source, output),
        _attributes(lib),
    )
