"""Layers of an ONNX graph, each with the batch norms, scales and biases that belong to it.

Names and order of the nodes do not matter. What computes no weights (activations, pooling, padding,
changes of shape) is walked through: a forward pass decides whether it is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import WeightsError
from models.weights.onnx_file import Array, Graph

THROUGH = frozenset(
    [
        "ArgMax",
        "AveragePool",
        "Cast",
        "Clip",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "Identity",
        "LogSoftmax",
        "Max",
        "MaxPool",
        "Min",
        "Pad",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Softmax",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    ]
)


@dataclass(frozen=True)
class OnnxLayer:
    """A convolution or product with what scales and shifts its result, per output channel."""

    name: str
    """Of the value that holds the result with all that is folded in."""
    source: str
    """The value it reads."""
    weight: Array
    """float64 [outputs, inputs / groups, height, width]."""
    scale: Array
    shift: Array
    stride: tuple[int, int]
    groups: int


@dataclass(frozen=True)
class Sum:
    """An addition of two computed values."""

    name: str
    sources: tuple[str, str]


@dataclass(frozen=True)
class Images:
    """The graph's input."""

    name: str


Found = OnnxLayer | Sum | Images


def head(graph: Graph) -> OnnxLayer:
    """Return the layer that makes the logits. Raises WeightsError."""
    ends = [found(graph, output) for output in graph.outputs]
    if not ends or not isinstance(ends[0], OnnxLayer) or len({end.name for end in ends}) != 1:
        raise WeightsError(f"{graph.path}: its outputs do not come from one classifier")
    return ends[0]


def found(graph: Graph, value: str) -> Found:
    """Walk back from a value to a layer, an addition or the input, folding all between."""
    scale: Array = np.ones(1)
    shift: Array = np.zeros(1)
    name = value
    folded = False
    while True:
        if value == graph.input:
            if folded:
                raise WeightsError(f"{graph.path}: {name} computes with the images")
            return Images(value)
        node = graph.makers.get(value)
        if node is None:
            raise WeightsError(f"{graph.path}: nothing makes {value}")
        kind = node.op_type
        if kind in ("Conv", "MatMul", "Gemm"):
            return _layer(graph, node, name, scale, shift)
        if kind == "BatchNormalization":
            gain, bias, mean, variance = (_vector(graph, n) for n in node.input[1:5])
            epsilon = graph.attributes(node).get("epsilon", 1e-5)
            own = gain / np.sqrt(variance + epsilon)
            scale, shift = scale * own, shift + scale * (bias - mean * own)
            folded = True
            value = node.input[0]
        elif kind in ("Add", "Sum", "Mul", "Sub", "Div") and len(node.input) == 2:
            constants = [graph.constant(source) for source in node.input]
            if all(constant is None for constant in constants):
                if kind not in ("Add", "Sum") or folded:
                    raise WeightsError(f"{graph.path}: {kind} {value} is in none of our networks")
                return Sum(value, (node.input[0], node.input[1]))
            at = 1 if constants[0] is None else 0
            if at == 0 and kind in ("Sub", "Div"):
                raise WeightsError(f"{graph.path}: {kind} {value} is in none of our networks")
            amount = _vector(graph, node.input[at])
            if kind in ("Add", "Sum", "Sub"):
                shift = shift + scale * (amount if kind != "Sub" else -amount)
            else:
                scale = scale * (amount if kind == "Mul" else 1 / amount)
            folded = True
            value = node.input[1 - at]
        elif kind in THROUGH:
            source = next((s for s in node.input if graph.constant(s) is None), node.input[0])
            if not folded:
                name = source
            elif kind not in ("Identity", "Squeeze", "Reshape", "Transpose", "Unsqueeze"):
                raise WeightsError(
                    f"{graph.path}: a scale or bias behind {kind} {value} is not ours"
                )
            value = source
        else:
            raise WeightsError(
                f"{graph.path}: operator {kind} ({value}) is in none of our networks; expected an "
                "fp32 ResNet-50 v1.5 or MobileNet-v1"
            )


def _layer(graph: Graph, node: Any, name: str, scale: Any, shift: Any) -> OnnxLayer:
    attributes = graph.attributes(node)
    at, weight = next(
        ((i, w) for i in (1, 0) if (w := graph.constant(node.input[i])) is not None), (1, None)
    )
    if weight is None or (at == 0 and node.op_type != "MatMul"):
        raise WeightsError(f"{graph.path}: {node.op_type} {name} has no constant weights")
    weight = weight.astype(np.float64)
    bias: Array = np.zeros(1)
    if len(node.input) > 2 and node.input[2]:
        bias = _vector(graph, node.input[2])
    stride, groups = (1, 1), 1
    if node.op_type == "Conv":
        if weight.ndim != 4 or set(attributes.get("dilations", [1])) != {1}:
            raise WeightsError(f"{graph.path}: Conv {name} is not a plain 2-D convolution")
        vertical, horizontal = attributes.get("strides", (1, 1))
        stride, groups = (vertical, horizontal), attributes.get("group", 1)
    else:
        if weight.ndim != 2:
            raise WeightsError(f"{graph.path}: {node.op_type} {name} is not a matrix product")
        if node.op_type == "Gemm":
            weight = weight * attributes.get("alpha", 1.0)
            bias = bias * attributes.get("beta", 1.0)
        if not (at == 0 or attributes.get("transB", 0)):
            weight = weight.T
        weight = weight[:, :, None, None]
    outputs = len(weight)
    try:
        scales = np.broadcast_to(np.asarray(scale, np.float64), outputs)
        shifts = np.broadcast_to(np.asarray(shift + scale * bias, np.float64), outputs)
    except ValueError:
        raise WeightsError(f"{graph.path}: scale or bias of {name} is not per channel") from None
    return OnnxLayer(name, node.input[1 - at], weight, scales, shifts, stride, groups)


def _vector(graph: Graph, name: str) -> Array:
    value = graph.constant(name)
    if value is None:
        raise WeightsError(f"{graph.path}: {name} is not a constant")
    if value.size != max(value.shape, default=1):
        raise WeightsError(f"{graph.path}: {name} {list(value.shape)} is not per channel")
    return value.astype(np.float64).reshape(-1)
