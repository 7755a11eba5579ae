"""The AMX kernels against oneDNN's own, to the bit."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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
from netrun.engines.amx.routine import AMX_BITS, aligned, permitted
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.primitives import folded_constants, make_kernel, plain_weights

Bytes = NDArray[np.uint8]


@pytest.fixture
def lib() -> Iterator[dnn.Library]:
    lib = dnn.load()
    if lib.isa & AMX_BITS != AMX_BITS or not permitted():
        pytest.skip("this processor, or its kernel, has no amx_int8")
    yield lib
    lib.set_threads(1)


def test_kernels_are_for_amx_and_for_shapes_that_fit() -> None:
    fitting = Pointwise(7, 7, 512, 64)
    assert supported(0xFEF, fitting) == permitted()
    assert not supported(0x1EF, fitting)  # a lower limit, as ONEDNN_MAX_CPU_ISA sets
    assert not Pointwise(7, 7, 512, 32).fits
    assert not Pointwise(7, 7, 96, 64).fits
    assert not Pointwise(7, 7, 64, 64, output="s8", relu=True).fits
    assert not Pointwise(7, 7, 64, 64, output="f32", relu=False).fits
    assert Stem(112, 112).fits
    assert Gathered(7, 7, 512, 512, 3, 2, (1, 1), 14, 14).fits
    assert not Gathered(7, 7, 1024, 512, 3, 2, (1, 1), 14, 14).fits  # too much to unroll
    assert not Gathered(7, 7, 32, 64, 3, 2, (1, 1), 14, 14).fits
    assert not Gathered(7, 7, 64, 64, 1, 1, (0, 0), 7, 7).fits  # a Pointwise
    assert not Stem(112, 112, out_channels=32).fits
    assert not Stem(112, 100).fits
    assert not Stem(113, 112).fits


def test_only_what_cannot_leave_int32_is_within_range() -> None:
    weights, scales = np.full((2, 100), -100, np.int8), np.array([0.5, 800.0], np.float32)
    bias = np.array([-3.0, 0.0], np.float32)
    assert within_range(weights, scales, bias)
    assert not within_range(weights, scales * np.float32(1.1), bias)
    assert not within_range(weights, scales, bias, residual_scale=1e7)
    assert not within_range(weights, -scales, bias)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "residual u8": {"residual": "u8"},
    "residual s8": {"residual": "s8"},
    "projection": {"output": "s8", "clamp": None},
    "clamp": {"clamp": 4.0},
    "residual and clamp": {"residual": "u8", "clamp": 4.0},
    "source s8": {"source": "s8"},
}
# Height, width, channels, output channels: rows that fill blocks, that do not, that are but one.
SHAPES = [(8, 8, 64, 128), (7, 7, 64, 64), (3, 5, 128, 64), (1, 1, 64, 64), (9, 9, 512, 128)]


@pytest.mark.parametrize("shape", [*SHAPES, (4, 8, 32, 64)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pointwise_kernel_equals_onednn(
    lib: dnn.Library, kind: str, shape: tuple[int, int, int, int]
) -> None:
    program = pointwise_program(*shape, **KINDS[kind])
    for batch in (1, 3):
        for threads in (1, 2):
            same(*both(lib, program, pointwise(program), batch, threads))


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((56, 56, 64, 256), {"residual": "u8"}),
        ((56, 56, 64, 256), {"output": "s8", "clamp": None}),
        ((28, 28, 128, 512), {"residual": "s8"}),
        ((14, 14, 256, 1024), {"residual": "u8"}),
        ((7, 7, 512, 2048), {"residual": "u8"}),
        ((28, 28, 256, 512), {"stride": 2, "output": "s8", "clamp": None}),
        ((7, 7, 1024, 2048), {"stride": 2, "output": "s8", "clamp": None}),
    ],
    ids=str,
)
def test_a_pointwise_kernel_equals_onednn_on_layers_of_resnet50(
    lib: dnn.Library, shape: tuple[int, int, int, int], kind: dict[str, Any]
) -> None:
    program = pointwise_program(*shape, **kind)
    same(*both(lib, program, pointwise(program), batch=2, threads=2))


@pytest.mark.parametrize(
    ("shape", "batch", "threads"),
    [
        ((2, 16), 1, 1),
        ((4, 32), 2, 1),
        ((6, 48), 3, 2),
        ((2, 16), 1, 3),  # more threads than rows
        ((112, 112), 1, 1),
        ((112, 112), 2, 2),
    ],
)
def test_a_stem_equals_onednn(
    lib: dnn.Library, shape: tuple[int, int], batch: int, threads: int
) -> None:
    program = stem_program(*shape)
    same(*both(lib, program, Stem(*shape), batch, threads))


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "kind"),
    [
        ((7, 7, 64, 64), 3, 1, {}),
        ((9, 5, 128, 128), 3, 2, {"clamp": 4.0}),
        ((7, 7, 64, 64), 1, 2, {"output": "s8", "clamp": None}),
        ((3, 4, 64, 64), 3, 1, {"source": "s8"}),
        ((7, 7, 512, 128), 3, 2, {}),
        ((7, 7, 1024, 256), 1, 2, {"output": "s8", "clamp": None}),
    ],
    ids=str,
)
def test_a_gathered_kernel_equals_onednn(
    lib: dnn.Library,
    shape: tuple[int, int, int, int],
    kernel: int,
    stride: int,
    kind: dict[str, Any],
) -> None:
    program = pointwise_program(*shape, stride=stride, kernel=kernel, **kind)
    for batch in (1, 3):
        for threads in (1, 2, 3):
            same(*both(lib, program, gathered(program), batch, threads))


def test_kernels_go_where_their_arguments_point(lib: dnn.Library) -> None:
    program = pointwise_program(7, 7, 64, 64, residual="u8")
    kernel = make(lib, program, pointwise(program), batch=1, threads=1)
    sources, results = random_bytes(program, "x", 2), random_bytes(program, "y", 2)
    expected = results.copy()
    for index in (1, 0):
        expected[index : index + 1] = by_onednn(
            lib, program, sources[index : index + 1], results[index : index + 1]
        )
    for index in (1, 0):
        aim(kernel, sources[index], results[index])
        kernel.call()
    same(expected, results)


@pytest.mark.parametrize("kind", ["pointwise", "stem"])
def test_one_thread_does_the_shares_of_those_that_openmp_refused(
    lib: dnn.Library, kind: str
) -> None:
    program = pointwise_program(9, 9, 64, 64) if kind == "pointwise" else stem_program(6, 16)
    layer = pointwise(program) if kind == "pointwise" else Stem(6, 16)
    source, result = random_bytes(program, "x", 1), random_bytes(program, "y", 1)
    kernel = make(lib, program, layer, batch=1, threads=3)
    aim(kernel, source, result)
    expected = by_onednn(lib, program, source, result)
    # Outside of a parallel region, a worker is the only one of its team.
    worker = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(kernel.arguments.worker)
    assert worker(kernel.pointer) == 0
    same(expected, result)


def test_packed_arrays_have_to_be_aligned(lib: dnn.Library) -> None:
    layer = Pointwise(7, 7, 64, 64)
    weights, factors = aligned(4096 + 1)[1:], aligned(512).view(np.float32)
    with pytest.raises(ValueError, match="cache line"):
        layer.make(1, 1, weights, factors, lib.openmp)


def same(expected: Bytes, result: Bytes) -> None:
    assert np.ptp(expected) > 100  # not all saturated
    np.testing.assert_array_equal(result, expected)


def pointwise_program(
    height: int,
    width: int,
    channels: int,
    out_channels: int,
    stride: int = 1,
    source: str = "u8",
    output: str = "u8",
    residual: str | None = None,
    clamp: float | None = math.inf,
    kernel: int = 1,
) -> Program:
    tensors = {
        "x": Tensor((height * stride, width * stride, channels), source, 0.02),
        "y": Tensor((height, width, out_channels), output, 0.03),
    }
    if residual is not None:
        tensors["r"] = Tensor((height, width, out_channels), residual, 0.041)
    operation = Convolution(
        *("layer", "x", "y", (stride, stride), (kernel // 2,) * 4),
        residual=None if residual is None else "r",
        clamp=clamp,
    )
    constants = layer_constants((out_channels, channels, kernel, kernel))
    return Program("x", "y", tensors, (operation,), constants)


def stem_program(height: int, width: int) -> Program:
    tensors = {
        "x": Tensor((2 * height + 6, 2 * width + 6, 3), "u8", 0.02),
        "c": Tensor((height, width, 64), "u8", 0.03),
        "y": Tensor((height // 2, width // 2, 64), "u8", 0.03),
    }
    operations = (
        Convolution("layer", "x", "c", (2, 2), (0, 0, 0, 0), clamp=math.inf),
        MaxPool("pool", "c", "y", (3, 3), (2, 2), (1, 1, 1, 1)),
    )
    return Program("x", "y", tensors, operations, layer_constants((64, 3, 7, 7)))


def layer_constants(shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    scales = random.uniform(0.5, 1.5, shape[0]) / (80 * math.sqrt(math.prod(shape[1:])))
    return {
        "layer.weight": random.integers(-127, 128, shape, np.int8),
        "layer.scales": scales.astype(np.float32),
        "layer.bias": random.normal(0, 0.3, shape[0]).astype(np.float32),
    }


def pointwise(program: Program) -> Pointwise:
    """The layer that the program's convolution is."""
    (operation,) = program.operations
    assert isinstance(operation, Convolution)
    source, output = program.tensors["x"], program.tensors["y"]
    residual = program.tensors.get("r")
    clamp = operation.clamp
    height, width, out_channels = output.shape
    layer = Pointwise(
        *(height, width, source.shape[2], out_channels),
        stride=operation.stride[0],
        source=source.dtype,
        output=output.dtype,
        residual=None if residual is None else residual.dtype,
        residual_scale=0.0 if residual is None else residual.scale / output.scale,
        relu=clamp is not None,
        bound=None if clamp is None or math.isinf(clamp) else clamp / output.scale,
    )
    assert layer.fits
    return layer


def gathered(program: Program) -> Gathered:
    """The layer that the program's convolution is, without a residual."""
    (operation,) = program.operations
    assert isinstance(operation, Convolution)
    source, output = program.tensors["x"], program.tensors["y"]
    clamp, (height, width, out_channels) = operation.clamp, output.shape
    layer = Gathered(
        *(height, width, source.shape[2], out_channels),
        kernel=program.constants["layer.weight"].shape[2],
        stride=operation.stride[0],
        padding=(operation.padding[0], operation.padding[2]),
        source_height=source.shape[0],
        source_width=source.shape[1],
        source=source.dtype,
        output=output.dtype,
        relu=clamp is not None,
        bound=None if clamp is None or math.isinf(clamp) else clamp / output.scale,
    )
    assert layer.fits
    return layer


def random_bytes(program: Program, name: str, batch: int) -> Bytes:
    """All values of a tensor's type, on a cache line."""
    shape = (batch, *program.tensors[name].shape)
    values = aligned(math.prod(shape)).reshape(shape)
    values[:] = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    return values


def both(
    lib: dnn.Library, program: Program, layer: Pointwise | Stem | Gathered, batch: int, threads: int
) -> tuple[Bytes, Bytes]:
    """The results of oneDNN and of the layer's kernel; a residual is added in place."""
    lib.set_threads(threads)
    source, result = random_bytes(program, "x", batch), random_bytes(program, "y", batch)
    expected = by_onednn(lib, program, source, result)
    kernel = make(lib, program, layer, batch, threads)
    aim(kernel, source, result)
    kernel.call()
    signed = program.tensors["y"].dtype == "s8"  # compared as they are ordered
    flip = np.uint8(0x80 if signed else 0)
    return expected ^ flip, result ^ flip


def make(
    lib: dnn.Library, program: Program, layer: Pointwise | Stem | Gathered, batch: int, threads: int
) -> Kernel:
    operation = program.operations[0]
    assert isinstance(operation, Convolution)
    folded = folded_constants(program, operation)
    scales, bias = folded["layer.scales"], folded["layer.bias"]
    weights = program.constants["layer.weight"]
    assert within_range(weights, scales, bias, getattr(layer, "residual_scale", 0.0))
    packed = on_a_line(layer.pack(weights))
    factors = on_a_line(pack_factors(scales, bias)).view(np.float32)
    return layer.make(batch, threads, packed, factors, lib.openmp)


def aim(kernel: Kernel, source: Bytes, output: Bytes) -> None:
    kernel.arguments.source = source.ctypes.data
    kernel.arguments.output = kernel.arguments.residual = output.ctypes.data


def by_onednn(lib: dnn.Library, program: Program, source: Bytes, result: Bytes) -> Bytes:
    """The program's output, its operations one after the other; `result` holds the residual."""
    batch = len(source)
    values: dict[str, Bytes] = {"x": source}
    for operation in program.operations:
        values[operation.output] = target = random_bytes(program, operation.output, batch)
        if operation.output == "y":
            target[:] = result
        execute(lib, program, operation, values[operation.source], target)
    return values["y"]


def execute(
    lib: dnn.Library, program: Program, operation: Operation, source: Bytes, target: Bytes
) -> None:
    kernel = make_kernel(lib, program, operation, len(source))
    scratchpad = aligned(lib.size(kernel.scratchpad))
    constants: list[NDArray[Any]] = []

    def memory(descriptor: Any, array: NDArray[Any]) -> Any:
        constants.append(array)
        return lib.memory(descriptor, array.ctypes.data)

    arguments = [
        (dnn.ARG_SRC, memory(kernel.source, source)),
        (dnn.ARG_DST, memory(kernel.output, target)),
        (dnn.ARG_SCRATCHPAD, memory(kernel.scratchpad, scratchpad)),
    ]
    if isinstance(operation, Convolution):
        assert kernel.weights is not None
        folded = folded_constants(program, operation)
        vector = lib.descriptor(folded["layer.bias"].shape, "f32", (1,))
        packed = aligned(lib.size(kernel.weights))
        plain = np.ascontiguousarray(program.constants["layer.weight"])
        reorder(lib, plain_weights(lib, program, operation), plain, kernel.weights, packed)
        arguments += [
            (dnn.ARG_WEIGHTS, memory(kernel.weights, packed)),
            (dnn.ARG_BIAS, memory(vector, folded["layer.bias"])),
            (dnn.ARG_SCALES | dnn.ARG_WEIGHTS, memory(vector, folded["layer.scales"])),
        ]
    primitive = lib.create("dnnl_primitive_create", kernel.descriptor)
    run(lib, primitive, arguments)


def reorder(
    lib: dnn.Library, layout: Any, source: NDArray[Any], wanted: Any, target: NDArray[Any]
) -> None:
    attributes = lib.create("dnnl_primitive_attr_create")
    descriptor = lib.create(
        "dnnl_reorder_primitive_desc_create",
        *(layout, lib.engine, wanted, lib.engine, attributes),
    )
    arguments = [
        (dnn.ARG_SRC, lib.memory(layout, source.ctypes.data)),
        (dnn.ARG_DST, lib.memory(wanted, target.ctypes.data)),
    ]
    run(lib, lib.create("dnnl_primitive_create", descriptor), arguments)


def run(lib: dnn.Library, primitive: Any, arguments: list[tuple[int, Any]]) -> None:
    values = dnn.exec_args(*arguments)
    lib.call("dnnl_primitive_execute", primitive, lib.stream, len(arguments), values)


def on_a_line(array: NDArray[Any]) -> Bytes:
    memory = aligned(array.nbytes)
    memory[:] = array.view(np.uint8)
    return memory
