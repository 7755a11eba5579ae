"""Small programs with known constants, and their exact results in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.program import (
    Convolution,
    Linear,
    MaxPool,
    Operation,
    Program,
    Tensor,
    Upsample,
)


class Layers:
    """Random constants of layers, collected under their names."""

    def __init__(self, seed: int) -> None:
        self.constants: dict[str, NDArray[Any]] = {}
        self._random = np.random.default_rng(seed)

    def __call__(self, name: str, *shape: int) -> str:
        """Adds weight (of that shape), scales and bias; returns the name."""
        random = self._random
        weight = within_pairs(random.integers(-127, 128, shape, np.int8))
        self.constants[f"{name}.weight"] = weight
        fan_in = math.prod(shape[1:])
        scales = random.uniform(0.5, 1.5, shape[0]) / (127 * math.sqrt(fan_in))
        self.constants[f"{name}.scales"] = scales.astype(np.float32)
        self.constants[f"{name}.bias"] = random.normal(0, 0.3, shape[0]).astype(np.float32)
        return name


def residual_program(seed: int = 0) -> Program:
    """Stem, pooling, a block with an int8 projection, a depthwise layer with ReLU6, a head."""
    layer = Layers(seed)
    tensors = {
        "pixels": Tensor((21, 21, 3), "u8", 1 / 64),
        "stem": Tensor((10, 10, 32), "u8", 0.02),
        "pooled": Tensor((5, 5, 32), "u8", 0.02),
        "project": Tensor((5, 5, 64), "s8", 0.03),
        "a": Tensor((5, 5, 64), "u8", 0.01),
        "b": Tensor((5, 5, 64), "u8", 0.025),
        "c": Tensor((5, 5, 64), "u8", 0.03),
        "mean": Tensor((1, 1, 64), "u8", 0.01),
        "logits": Tensor((10,), "f32"),
    }
    none, one = (0, 0, 0, 0), (1, 1, 1, 1)
    operations: tuple[Operation, ...] = (
        Convolution(layer("stem", 32, 3, 3, 3), "pixels", "stem", (2, 2), none, clamp=math.inf),
        MaxPool("pool", "stem", "pooled", (3, 3), (2, 2), one),
        Convolution(layer("project", 64, 32, 1, 1), "pooled", "project", (1, 1), none),
        Convolution(layer("a", 64, 32, 3, 3), "pooled", "a", (1, 1), one, clamp=math.inf),
        Convolution(
            layer("b", 64, 64, 1, 1), "a", "b", (1, 1), none, residual="project", clamp=math.inf
        ),
        Convolution(layer("c", 64, 1, 3, 3), "b", "c", (1, 1), one, groups=64, clamp=6.0),
        Convolution(layer("mean", 64, 1, 5, 5), "c", "mean", (1, 1), none, groups=64),
        Linear(layer("head", 10, 64), "mean", "logits"),
    )
    return Program("pixels", "logits", tensors, operations, layer.constants)


def uneven_program(seed: int = 1) -> Program:
    """What ResNet-50 and MobileNet-v1 have not.

    Residuals that are read again, that are the samples, that are of another type than the sum;
    int8 sums; uneven padding at any edge; int8 maxima; a head that reads several positions.
    """
    layer = Layers(seed)
    tensors = {
        "pixels": Tensor((12, 12, 16), "u8", 1 / 64),
        "entry": Tensor((12, 12, 16), "u8", 0.03),
        "dense": Tensor((6, 6, 32), "u8", 0.01),
        "depthwise": Tensor((6, 6, 32), "s8", 0.03),
        "again": Tensor((6, 6, 32), "u8", 0.02),
        "other": Tensor((6, 6, 32), "u8", 0.03),
        "signed": Tensor((6, 6, 32), "s8", 0.03),
        "pooled": Tensor((3, 3, 32), "s8", 0.03),
        "logits": Tensor((10,), "f32"),
    }
    none, one, far = (0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1)
    relu = math.inf
    operations: tuple[Operation, ...] = (
        Convolution(
            *(layer("entry", 16, 16, 3, 3), "pixels", "entry", (1, 1), one),
            residual="pixels",
            clamp=relu,
        ),
        Convolution(layer("dense", 32, 16, 3, 3), "entry", "dense", (2, 2), (1, 0, 0, 1), clamp=6),
        Convolution(
            layer("depthwise", 32, 1, 4, 3), "dense", "depthwise", (1, 1), (2, 1, 0, 2), groups=32
        ),
        Convolution(
            *(layer("again", 32, 32, 1, 1), "dense", "again", (1, 1), none),
            residual="dense",
            clamp=relu,
        ),
        Convolution(
            *(layer("other", 32, 32, 1, 1), "again", "other", (1, 1), none),
            residual="depthwise",
            clamp=relu,
        ),
        Convolution(
            *(layer("signed", 32, 32, 1, 1), "other", "signed", (1, 1), none),
            residual="depthwise",
        ),
        MaxPool("pool", "signed", "pooled", (3, 3), (2, 2), far),
        Linear(layer("head", 10, 288), "pooled", "logits"),
    )
    return Program("pixels", "logits", tensors, operations, layer.constants)


def within_pairs(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Neighbouring input channels whose weights sum to 128 at most, as quantisation makes them."""
    even = weight[:, 0 : weight.shape[1] // 2 * 2 : 2].astype(np.int16)
    weight[:, 1::2] = np.clip(weight[:, 1::2], -128 - even, 128 - even)
    return weight


def saturating_program() -> Program:
    """Weights at the bound of every pair, (1, 127, 127, 1, ...), for pixels that are all 255."""
    tensors = {
        "pixels": Tensor((6, 6, 3), "u8", 1.0),
        "stem": Tensor((4, 4, 16), "u8", 3000.0),
        "square": Tensor((4, 4, 16), "u8", 2e7),
        "point": Tensor((4, 4, 16), "u8", 4e10),
        "logits": Tensor((4,), "f32"),
    }
    one, none = (1, 1, 1, 1), (0, 0, 0, 0)
    operations: tuple[Operation, ...] = (
        Convolution("stem", "pixels", "stem", (1, 1), none, clamp=math.inf),
        Convolution("square", "stem", "square", (1, 1), one, clamp=math.inf),
        Convolution("point", "square", "point", (1, 1), none, clamp=math.inf),
        Linear("head", "point", "logits"),
    )
    shapes = {"stem": (16, 3, 3, 3), "square": (16, 16, 3, 3), "point": (16, 16, 1, 1)}
    shapes["head"] = (4, 256)  # type: ignore[assignment]
    constants: dict[str, NDArray[Any]] = {}
    for name, shape in shapes.items():
        channels = np.resize(np.array([1, 127, 127, 1], np.int8), shape[1])
        spread = channels.reshape(1, -1, *[1] * (len(shape) - 2))
        constants[f"{name}.weight"] = np.array(np.broadcast_to(spread, shape))
        constants[f"{name}.scales"] = np.ones(shape[0], np.float32)
        constants[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return Program("pixels", "logits", tensors, operations, constants)


def expected(program: Program, samples: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The program's result in float64 arithmetic with the rounding that its tensors ask for."""
    return expected_outputs(program, samples)[0]


def expected_outputs(program: Program, samples: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """The same of all outputs."""
    values: dict[str, NDArray[Any]] = {program.input: samples}
    for operation in program.operations:
        source, target = program.tensors[operation.source], program.tensors[operation.output]
        x = values[operation.source].astype(np.float64)
        if isinstance(operation, Convolution):
            real = _convolution(program, operation, x * source.scale)
            if operation.residual is not None:
                real += values[operation.residual] * program.tensors[operation.residual].scale
            if operation.clamp is not None:
                real = np.clip(real, target.offset, target.offset + operation.clamp)
            values[operation.output] = _store(real, target)
        elif isinstance(operation, MaxPool):
            windows = _windows(x, operation.kernel, operation.stride, operation.padding, -np.inf)
            values[operation.output] = windows.max((3, 4))
        elif isinstance(operation, Upsample):
            values[operation.output] = x.repeat(operation.factor, 1).repeat(operation.factor, 2)
        else:
            weight = program.constants[f"{operation.name}.weight"].astype(np.float64)
            weight *= program.constants[f"{operation.name}.scales"][:, None]
            bias = program.constants[f"{operation.name}.bias"]
            values[operation.output] = x.reshape(len(x), -1) * source.scale @ weight.T + bias
    return [values[name] for name in program.outputs]


def _convolution(
    program: Program, operation: Convolution, x: NDArray[np.float64]
) -> NDArray[np.float64]:
    weight = program.constants[f"{operation.layer}.weight"].astype(np.float64)
    weight *= program.constants[f"{operation.layer}.scales"][:, None, None, None]
    windows = _windows(x, weight.shape[2:], operation.stride, operation.padding)
    groups = operation.groups
    each = windows.reshape(*windows.shape[:5], groups, -1)
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    result = np.einsum("nhwklgc,gockl->nhwgo", each, grouped)
    shape = (*result.shape[:3], len(weight))
    return np.asarray(result.reshape(shape) + program.constants[f"{operation.layer}.bias"])


def _windows(
    x: NDArray[Any],
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, ...],
    beyond: float = 0.0,
) -> NDArray[Any]:
    """(n, out height, out width, kernel height, kernel width, channels)."""
    top, bottom, left, right = padding
    edges = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(x, edges, constant_values=beyond)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (1, 2))
    return np.moveaxis(windows[:, :: stride[0], :: stride[1]], 3, -1)


def _store(real: NDArray[np.float64], target: Tensor) -> NDArray[Any]:
    if target.dtype == "f32":
        return real
    low, high = (0, 255) if target.dtype == "u8" else (-128, 127)
    return np.clip(np.rint((real - target.offset) / target.scale), low, high)
