"""An int8 program on ``torch.ops.onednn``, one call of an operator for each of its operations.

Every call allocates its result and looks its kernel up. What can be saved is everything else: a
residual is added in place by its convolution, weights are stored in the layouts that the kernels of
each batch size want, a tensor's memory is free for the next ones after its last reader, and nothing
becomes float32 before the last layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.program import Convolution, Linear, MaxPool, Operation, Program, Upsample
from models.program import Tensor as Stored
from netrun.engines.pytorch.linear import SHIFT, linear

DTYPES = {"u8": torch.uint8, "s8": torch.int8, "f32": torch.float32}
Run = Callable[..., Tensor]


class QuantisedNetwork:
    """A program made ready for batches of 1 to `batch_size` samples.

    Raises ValueError or RuntimeError for an operation that PyTorch does not offer.
    """

    def __init__(self, program: Program, batch_size: int) -> None:
        program = with_even_padding(with_unsigned_residuals(with_own_constants(program)))
        self._input, self._outputs = program.input, program.outputs
        self._weights: list[_Weights] = []
        self._steps = [self._step(program, index) for index in range(len(program.operations))]
        for weights in self._weights:
            for batch in range(1, batch_size + 1):
                weights.packed(batch)

    def __call__(self, samples: NDArray[np.uint8]) -> list[Tensor]:
        """The outputs for samples, uint8 (n, H, W, C): (n, outputs), or maps (n, h, w, channels).

        In float32, but for those of which a program gives steps above a threshold.
        """
        values = {self._input: torch.from_numpy(samples).permute(0, 3, 1, 2)}
        for step in self._steps:
            values[step.output] = step.run(*[values[name] for name in step.reads])
            for name in step.frees:
                del values[name]
        found = [values[name] for name in self._outputs]
        return [v.permute(0, 2, 3, 1).contiguous() if v.dim() == 4 else v for v in found]

    def _step(self, program: Program, index: int) -> _Step:
        operation = program.operations[index]
        kept = {name for o in program.operations[index + 1 :] for name in _reads(o)}
        reads = _reads(operation)
        frees = [name for name in dict.fromkeys(reads) if name not in {*kept, *program.outputs}]
        if isinstance(operation, Upsample):
            return _Step(_upsample(operation.factor), reads, operation.output, frees)
        if isinstance(operation, MaxPool):
            return _Step(_max_pool(program, operation), reads, operation.output, frees)
        if isinstance(operation, Linear):
            return _Step(_linear(program, operation), reads, operation.output, frees)
        weights = _Weights(program, operation)
        self._weights.append(weights)
        # The samples are the caller's, and other readers must find what they expect.
        spent = {*frees} - {program.input, operation.source}
        run = _convolution(program, operation, weights, in_place=operation.residual in spent)
        return _Step(run, reads, operation.output, frees)


@dataclass(frozen=True)
class _Step:
    """What computes an operation's output from the tensors it reads, and which of them end here."""

    run: Run
    reads: list[str]
    output: str
    frees: list[str]


class _Weights:
    """A layer's weights, packed once for each layout that kernels want at some batch size."""

    def __init__(self, program: Program, operation: Convolution) -> None:
        self._program, self._operation = program, operation
        self.scales = _constant(program, operation, "scales")
        self.bias = _constant(program, operation, "bias")
        self.zeros = torch.zeros(len(self.scales), dtype=torch.int64)
        # The operators take uint8 sources alone: int8 ones are given 128 steps higher.
        self.signed = program.tensors[operation.source].dtype == "s8"
        self.zero_point = SHIFT if self.signed else 0
        self._by_batch: dict[int, Tensor] = {}
        self._by_layout: dict[bytes, Tensor] = {}

    def packed(self, batch: int) -> Tensor:
        """The weights for a batch of that many samples."""
        found = self._by_batch.get(batch)
        if found is None:
            found = self._pack(batch)
            layout = torch.ops.mkldnn._get_mkldnn_serialized_md(found).numpy().tobytes()
            found = self._by_batch[batch] = self._by_layout.setdefault(layout, found)
        return found

    def _pack(self, batch: int) -> Tensor:
        operation = self._operation
        source = self._program.tensors[operation.source]
        weight = _constant(self._program, operation, "weight")
        height, width, channels = source.shape
        return _tensor(
            torch.ops.onednn.qconv_prepack(
                *(weight, self.scales, source.scale, self.zero_point),
                *(*_geometry(operation), [batch, channels, height, width]),
            )
        )


def with_own_constants(program: Program) -> Program:
    """The same program where no operation uses another's constants, nor an output has an offset."""
    constants = dict(program.constants)
    operations: list[Operation] = []
    for operation in program.operations:
        if isinstance(operation, Convolution):
            for what in ("weight", "scales", "bias"):
                constants[f"{operation.name}.{what}"] = program.constants[
                    f"{operation.layer}.{what}"
                ]
            operation = replace(operation, shares=None)
        if offset := program.tensors[operation.output].offset:
            bias = f"{operation.name}.bias"
            constants[bias] = constants[bias] - np.float32(offset)
        operations.append(operation)
    return replace(program, operations=tuple(operations), constants=constants)


def with_unsigned_residuals(program: Program) -> Program:
    """The same program with int8 tensors that are only added to uint8 stored as uint8, 128 higher.

    A convolution adds in place what has its output's type, which is uint8 after a ReLU. The layer
    that makes such a tensor adds 128 steps to its bias, and a layer that adds it takes them off.
    """
    tensors, constants = dict(program.tensors), dict(program.constants)
    convolutions = [o for o in program.operations if isinstance(o, Convolution)]
    plain = {o.output for o in convolutions if o.clamp is None and o.residual is None}
    read = {o.source for o in program.operations} | {*program.outputs}
    read |= {o.residual for o in convolutions if o.residual and tensors[o.output].dtype != "u8"}
    shifted = {name for name in plain - read if tensors[name].dtype == "s8"}
    for name in shifted:
        tensors[name] = replace(tensors[name], dtype="u8")
    for operation in program.operations:
        bias = f"{operation.name}.bias"
        if operation.output in shifted:
            constants[bias] = constants[bias] + _shift(tensors[operation.output])
        if isinstance(operation, Convolution) and operation.residual in shifted:
            constants[bias] = constants[bias] - _shift(tensors[operation.residual])
    return replace(program, tensors=tensors, constants=constants)


def _shift(tensor: Stored) -> np.float32:
    return np.float32(SHIFT * tensor.scale)


def with_even_padding(program: Program) -> Program:
    """The same program with convolutions padded alike at opposite edges, as operators want them.

    The shorter padding becomes as long as the other, and the kernel gets zeros where it then meets
    what was added. A copy of a depthwise layer's source with more padding takes as long as the
    layer; the zeros take next to nothing.
    """
    operations: list[Operation] = []
    constants = dict(program.constants)
    for operation in program.operations:
        if isinstance(operation, Convolution) and not _even(operation.padding):
            top, bottom, left, right = operation.padding
            rows = (max(bottom - top, 0), max(top - bottom, 0))
            columns = (max(right - left, 0), max(left - right, 0))
            name = f"{operation.name}.weight"
            constants[name] = np.pad(constants[name], ((0, 0), (0, 0), rows, columns))
            vertical, horizontal = max(top, bottom), max(left, right)
            padding = (vertical, vertical, horizontal, horizontal)
            operation = replace(operation, padding=padding)
        operations.append(operation)
    return replace(program, operations=tuple(operations), constants=constants)


def _convolution(
    program: Program, operation: Convolution, weights: _Weights, in_place: bool
) -> Run:
    source, target = program.tensors[operation.source], program.tensors[operation.output]
    geometry = _geometry(operation)
    activation = "none"
    bounds: list[float] = []
    if operation.clamp is not None:
        # Storing as uint8 saturates at 255: an upper bound is needed only below that.
        free = operation.clamp / target.scale >= 255
        activation, bounds = ("relu", []) if free else ("hardtanh", [0.0, operation.clamp])
    dtype = DTYPES[target.dtype]
    stored = (target.scale, 0, dtype)

    def inputs(x: Tensor) -> tuple[Any, ...]:
        packed = weights.packed(len(x))
        unsigned = x.view(torch.uint8) ^ SHIFT if weights.signed else x
        return (unsigned, source.scale, weights.zero_point, packed, weights.scales, weights.zeros)

    if operation.residual is None:
        convolve = torch.ops.onednn.qconv2d_pointwise.default

        def run(x: Tensor) -> Tensor:
            return _tensor(
                convolve(*inputs(x), weights.bias, *geometry, *stored, activation, bounds, "")
            )

        return run

    if activation == "hardtanh":
        raise ValueError(f"{operation.name}: a clamp after an addition is not supported")
    residual = program.tensors[operation.residual]
    add = torch.ops.onednn.qconv2d_pointwise.binary

    def run_adding(x: Tensor, other: Tensor) -> Tensor:
        total = other if in_place else other.clone()
        addition = (residual.scale, 0, "sum", 1.0, activation, bounds, "")
        return _tensor(add(*inputs(x), total, weights.bias, *geometry, *stored, *addition))

    def run_adding_reals(x: Tensor, other: Tensor) -> Tensor:
        total = other.to(torch.float32).mul_(residual.scale)
        addition = (1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, activation, bounds, "")
        add(*inputs(x), total, weights.bias, *geometry, *addition)
        limits = torch.iinfo(dtype)
        return total.div_(target.scale).round_().clamp_(limits.min, limits.max).to(dtype)

    # The operator adds tensors of one type.
    return run_adding if residual.dtype == target.dtype else run_adding_reals


def _linear(program: Program, operation: Linear) -> Run:
    weight, scales, bias = (
        np.array(program.constants[f"{operation.name}.{part}"])
        for part in ("weight", "scales", "bias")
    )
    multiply = linear(weight, scales, bias, source=program.tensors[operation.source].scale)
    # As the weights count: channels last.
    return lambda x: multiply(x.permute(0, 2, 3, 1).flatten(1))


def _max_pool(program: Program, operation: MaxPool) -> Run:
    top, bottom, left, right = operation.padding
    even = _even(operation.padding)
    padding = [top, left] if even else [0, 0]
    windows = (list(operation.kernel), list(operation.stride), padding, [1, 1], False)

    def run(x: Tensor) -> Tensor:
        if not even:  # no value is below the zeros
            x = F.pad(x, (left, right, top, bottom)).contiguous(memory_format=torch.channels_last)
        return _tensor(torch.ops.quantized.max_pool2d(x, *windows))

    if program.tensors[operation.source].dtype == "u8":
        return run
    # The operator exists for uint8 alone.
    return lambda x: (run(x.view(torch.uint8) ^ SHIFT) ^ SHIFT).view(torch.int8)


def _upsample(factor: int) -> Run:
    def run(x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1)[:, :, None, :, None]
        wide = rows.expand(n, height, factor, width, factor, channels)
        return wide.reshape(n, height * factor, width * factor, channels).permute(0, 3, 1, 2)

    return run


def _geometry(operation: Convolution) -> tuple[list[int], list[int], list[int], int]:
    """Stride, padding, dilation and groups, as operators take them."""
    top, _, left, _ = operation.padding
    return list(operation.stride), [top, left], [1, 1], operation.groups


def _even(padding: tuple[int, int, int, int]) -> bool:
    top, bottom, left, right = padding
    return top == bottom and left == right


def _residual(operation: Operation) -> str | None:
    return operation.residual if isinstance(operation, Convolution) else None


def _reads(operation: Operation) -> list[str]:
    residual = _residual(operation)
    return [operation.source] if residual is None else [operation.source, residual]


def _constant(program: Program, operation: Operation, name: str) -> Tensor:
    return torch.from_numpy(np.array(program.constants[f"{operation.name}.{name}"]))


def _tensor(value: Any) -> Tensor:
    assert isinstance(value, Tensor)
    return value
