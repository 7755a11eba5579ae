"""Grouped convolutions with few channels a group, computed in wider groups.

Kernels want some dozens of channels. Those of a ResNeXt's first layers have 4 to a group, and run
at a hundredth of the rate of a dense layer. Put together, neighbouring groups are one convolution
whose weights are zero between them: of more products, but the answers are the same, and it may take
a sixth of the time. How wide is best depends on layer and processor, and is measured::

    2 groups of 2 channels     one group of 4

        a b . .                   a b 0 0
        c d . .                   c d 0 0
        . . e f                   0 0 e f
        . . g h                   0 0 g h
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.program import Convolution, Operation, Program

WIDEST = 128
"""Input channels of a group, at most: beyond, zeros cost more than they gain."""

Time = Callable[[Program], float]
"""Seconds that one sample takes in a program."""


def widened(program: Program, time_of: Time, worth: float) -> Program:
    """The program with grouped convolutions in the width that was measured to be the fastest.

    Another than its own width has to take less than `worth` of its time.
    """
    found: dict[tuple[Any, ...], int] = {}
    constants = dict(program.constants)
    operations: list[Operation] = []
    for operation in program.operations:
        if isinstance(operation, Convolution) and _few_channels(program, operation):
            alone = _alone(program, operation)
            key = _shape(alone)
            if key not in found:
                found[key] = _fastest(alone, time_of, worth)
            if found[key] > 1:
                operation = _in_wider_groups(operation, constants, found[key])
        operations.append(operation)
    return replace(program, operations=tuple(operations), constants=constants)


def factors_of(program: Program, wide: Program) -> dict[str, int]:
    """By operation: how many of its groups were put together, where several were.

    Of the products of such an operation, all but one in so many are with a zero.
    """
    found = {}
    for before, after in zip(program.operations, wide.operations, strict=True):
        if isinstance(before, Convolution) and isinstance(after, Convolution):
            found[before.name] = before.groups // after.groups
    return {name: factor for name, factor in found.items() if factor > 1}


def _few_channels(program: Program, operation: Convolution) -> bool:
    """Not a depthwise layer, which has kernels of its own, nor one that shares its weights."""
    width = program.constants[f"{operation.layer}.weight"].shape[1]
    return operation.groups > 1 and 1 < width < WIDEST and operation.shares is None


def _fastest(alone: Program, time_of: Time, worth: float) -> int:
    (operation,) = alone.operations
    assert isinstance(operation, Convolution)
    width = alone.constants[f"{operation.name}.weight"].shape[1]
    times = {1: time_of(alone)}
    factor = 2
    while operation.groups % factor == 0 and width * factor <= WIDEST:
        constants = dict(alone.constants)
        wider = _in_wider_groups(operation, constants, factor)
        times[factor] = time_of(replace(alone, operations=(wider,), constants=constants))
        factor *= 2
    best = min(times, key=lambda factor: times[factor])
    return best if times[best] < worth * times[1] else 1


def _alone(program: Program, operation: Convolution) -> Program:
    """The operation as a program of its own, without a residual."""
    names = {operation.source, operation.output}
    return Program(
        operation.source,
        operation.output,
        {name: program.tensors[name] for name in names},
        (replace(operation, residual=None),),
        {
            f"{operation.name}.{what}": program.constants[f"{operation.layer}.{what}"]
            for what in ("weight", "scales", "bias")
        },
    )


def _shape(alone: Program) -> tuple[Any, ...]:
    (operation,) = alone.operations
    assert isinstance(operation, Convolution)
    source, output = alone.tensors[alone.input], alone.tensors[alone.output]
    weight = alone.constants[f"{operation.name}.weight"].shape
    types = (source.dtype, output.dtype)
    return (source.shape, types, weight, operation.stride, operation.padding, operation.groups)


def _in_wider_groups(
    operation: Convolution, constants: dict[str, NDArray[Any]], factor: int
) -> Convolution:
    """The operation with `factor` groups put together; its weight among `constants` is replaced."""
    name = f"{operation.name}.weight"
    constants[name] = wide_weight(constants[name], operation.groups, factor)
    return replace(operation, groups=operation.groups // factor)


def wide_weight(weight: NDArray[np.int8], groups: int, factor: int) -> NDArray[np.int8]:
    """Weights (out, in / groups, ...) for groups that are `factor` times as wide."""
    outputs, width, *kernel = weight.shape
    wide = np.zeros((groups // factor, factor, outputs // groups, factor, width, *kernel), np.int8)
    each = weight.reshape(groups // factor, factor, outputs // groups, width, *kernel)
    for place in range(factor):
        wide[:, place, :, place] = each[:, place]
    return wide.reshape(outputs, factor * width, *kernel)
