"""From torchao's reference graph (quantise / dequantise around float operators) to a program.

Every float operator of the reference graph reads dequantised values and its result is quantised
again. Lowering walks the graph once, remembers for each node which stored tensor it stands for, and
fuses convolution, residual addition and clamp into one operation when the quantisation of the
result is reached.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

# Registers torch.ops.quantized_decomposed, which the reference graph calls.
import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
from numpy.typing import NDArray
from torch.fx import GraphModule, Node

from models.program import Convolution, Linear, MaxPool, Operation, Program, Tensor
from models.quantize import quantizer as q
from models.quantize.deploy import UnsupportedNetworkError, parameter

decomposed = torch.ops.quantized_decomposed
DTYPES = {torch.uint8: "u8", torch.int8: "s8"}


def lower(graph: GraphModule, input_shape: tuple[int, int, int]) -> Program:
    """Lower a converted PT2E graph whose samples have `input_shape` (H, W, C).

    Raises UnsupportedNetworkError at a node that no engine executes.
    """
    return _Lowering(graph, input_shape).run()


def quantised_weight(graph: GraphModule, node: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """The int8 weight and the scales that a convolution or linear node of the graph reads."""
    dequantize = node.args[1]
    if not q.calls(dequantize, (decomposed.dequantize_per_channel.default,)):
        raise UnsupportedNetworkError(f"{node.name}: its weight is not quantised")
    assert isinstance(dequantize, Node)
    return parameter(graph, dequantize.args[0]), parameter(graph, dequantize.args[1])


class _Lowering:
    def __init__(self, graph: GraphModule, input_shape: tuple[int, int, int]) -> None:
        self.graph = graph
        self.input_shape = input_shape
        self.stored: dict[Node, str] = {}  # node -> the tensor that holds its value
        self.pending: dict[Node, dict[str, Any]] = {}  # node -> an operation not yet emitted
        self.tensors: dict[str, Tensor] = {}
        self.operations: list[Operation] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.input = ""

    def run(self) -> Program:
        output = ""
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self.input = node.name
            elif node.op == "output":
                output = self._stored(_first_node(node.args))
            elif node.op == "call_function":
                self._call(node)
        return Program(self.input, output, self.tensors, tuple(self.operations), self.constants)

    def _call(self, node: Node) -> None:
        if q.calls(node, (decomposed.quantize_per_tensor.default,)):
            self._quantize(node)
        elif q.calls(node, (decomposed.dequantize_per_tensor.default,)):
            self.stored[node] = self._stored(node.args[0])
        elif q.calls(node, (decomposed.dequantize_per_channel.default,)):
            pass  # read by the convolution or linear that uses it
        elif q.calls(node, q.CONVOLUTIONS):
            self.pending[node] = self._convolution(node)
        elif q.calls(node, q.ADDITIONS):
            conv, other = q.fused_add(node) or (None, None)
            if conv is None or other is None:
                raise UnsupportedNetworkError(f"{node.name}: no convolution absorbs this addition")
            self.pending[node] = {**self.pending.pop(conv), "residual": self._stored(other)}
        elif q.calls(node, q.CLAMPS):
            source = node.args[0]
            if not isinstance(source, Node) or source not in self.pending:
                raise UnsupportedNetworkError(f"{node.name}: an activation without a convolution")
            self.pending[node] = {**self.pending.pop(source), "clamp": _upper_bound(node)}
        elif q.calls(node, q.MAX_POOLS):
            self.pending[node] = self._max_pool(node)
        elif q.calls(node, q.AVERAGE_POOLS):
            self.pending[node] = self._average_pool(node)
        elif q.calls(node, (*q.SHAPES, *q.PADS)):
            source = node.args[0]
            if isinstance(source, Node) and source in self.pending:
                self._head(source)
            self.stored[node] = self._stored(source)
        elif q.calls(node, q.LINEARS):
            self._linear(node)
        elif node.users:
            raise UnsupportedNetworkError(f"{node.name}: {node.target} is not supported in int8")

    def _stored(self, node: object) -> str:
        if not isinstance(node, Node) or node not in self.stored:
            raise UnsupportedNetworkError(f"{node}: its value is not quantised")
        return self.stored[node]

    def _quantize(self, node: Node) -> None:
        source, scale, zero_point, _, _, dtype = node.args
        assert isinstance(source, Node)
        if zero_point != 0:
            raise UnsupportedNetworkError(f"{node.name}: zero point {zero_point} is not 0")
        if source in self.pending:
            fields = self.pending.pop(source)
            kind = fields.pop("type")
            self._emit(node, kind, fields, _sample_shape(source))
            self.tensors[node.name] = replace(
                self.tensors[node.name], dtype=DTYPES[dtype], scale=float(scale)
            )
        elif source.op == "placeholder":
            self.tensors[source.name] = Tensor(self.input_shape, DTYPES[dtype], float(scale))
            self.stored[node] = source.name
        else:  # quantised again without an operation between: a change of shape
            self.stored[node] = self._stored(source)

    def _emit(
        self, node: Node, kind: type[Operation], fields: dict[str, Any], shape: tuple[int, ...]
    ) -> None:
        self.tensors[node.name] = Tensor(shape, "f32")
        self.operations.append(kind(output=node.name, **fields))
        self.stored[node] = node.name

    def _layer(self, node: Node) -> str:
        """Stores the constants of a convolution or linear node; returns the layer's name."""
        bias = node.args[2] if len(node.args) > 2 else None
        weight, scales = quantised_weight(self.graph, node)
        values = torch.zeros(len(weight)) if bias is None else parameter(self.graph, bias)
        name = q.layer_name(node)
        self.constants[f"{name}.weight"] = weight.detach().contiguous().numpy()
        self.constants[f"{name}.scales"] = scales.detach().float().numpy()
        self.constants[f"{name}.bias"] = values.detach().float().numpy()
        return name

    def _convolution(self, node: Node) -> dict[str, Any]:
        _, _, _, stride, padding, dilation, groups = q.arguments(node, q.CONVOLUTION_DEFAULTS)
        if q.pair(dilation) != (1, 1):
            raise UnsupportedNetworkError(f"{node.name}: dilation {dilation}")
        vertical, horizontal = q.pair(padding)
        top, bottom, left, right = 0, 0, 0, 0
        pad = _origin(node.args[0])
        if q.calls(pad, q.PADS):  # asymmetric padding, as TensorFlow's SAME at stride 2
            top, bottom, left, right = q.pad_amounts(pad)
        return {
            "type": Convolution,
            "name": self._layer(node),
            "source": self._stored(node.args[0]),
            "stride": q.pair(stride),
            "padding": (top + vertical, bottom + vertical, left + horizontal, right + horizontal),
            "groups": groups,
        }

    def _head(self, node: Node) -> None:
        """A 1x1 convolution of pooled values whose result stays float32 is a linear layer."""
        fields = self.pending.pop(node)
        weight = f"{fields['name']}.weight"
        shape = self.tensors[fields["source"]].shape
        if fields["type"] is not Convolution or shape[:2] != (1, 1) or "clamp" in fields:
            raise UnsupportedNetworkError(f"{node.name}: only a linear layer may end a network")
        self.constants[weight] = self.constants[weight].reshape(-1, shape[-1])
        head = {"name": fields["name"], "source": fields["source"]}
        self._emit(node, Linear, head, (len(self.constants[weight]),))

    def _linear(self, node: Node) -> None:
        fields = {"name": self._layer(node), "source": self._stored(node.args[0])}
        height, width = (1, 1, *self.tensors[fields["source"]].shape)[-3:-1]
        if height * width > 1:  # its weights count channels first, a program's channels last
            raise UnsupportedNetworkError(f"{node.name}: a linear layer over several positions")
        self._emit(node, Linear, fields, _sample_shape(node))

    def _max_pool(self, node: Node) -> dict[str, Any]:
        defaults = (None, None, node.args[1], [0, 0], [1, 1], False)
        source, kernel, stride, padding, dilation, ceil_mode = q.arguments(node, defaults)
        if q.pair(dilation) != (1, 1):
            raise UnsupportedNetworkError(f"{node.name}: dilation")
        vertical, horizontal = q.pair(padding)
        below = right = 0
        if ceil_mode:  # windows reach over the far edges: as padding there
            height, width = self.tensors[self._stored(source)].shape[:2]
            pooled_height, pooled_width = _sample_shape(node)[:2]
            strides, kernels = q.pair(stride), q.pair(kernel)
            below = _overhang(height + 2 * vertical, pooled_height, strides[0], kernels[0])
            right = _overhang(width + 2 * horizontal, pooled_width, strides[1], kernels[1])
        return {
            "type": MaxPool,
            "name": node.name,
            "source": self._stored(source),
            "kernel": q.pair(kernel),
            "stride": q.pair(stride),
            "padding": (vertical, vertical + below, horizontal, horizontal + right),
        }

    def _average_pool(self, node: Node) -> dict[str, Any]:
        everywhere = (
            q.pair(node.args[1]) == (1, 1)
            if q.calls(node, (q.aten.adaptive_avg_pool2d.default,))
            else sorted(d % 4 for d in node.args[1]) == [2, 3]  # type: ignore[union-attr, operator]
        )
        if not everywhere:
            raise UnsupportedNetworkError(f"{node.name}: an average over a part of the positions")
        return self._mean_convolution(node)

    def _mean_convolution(self, node: Node) -> dict[str, Any]:
        """A mean as a depthwise convolution with equal weights.

        Means span a smaller range than what they are means of; a pooling kernel would have to
        store them at the source's scale, a convolution gives them one of their own.
        """
        source = self._stored(node.args[0])
        height, width, channels = self.tensors[source].shape
        ones = np.ones((channels, 1, height, width), np.int8)
        self.constants[f"{node.name}.weight"] = ones
        share = np.float32(1 / (height * width))
        self.constants[f"{node.name}.scales"] = np.full(channels, share, np.float32)
        self.constants[f"{node.name}.bias"] = np.zeros(channels, np.float32)
        return {
            "type": Convolution,
            "name": node.name,
            "source": source,
            "stride": (1, 1),
            "padding": (0, 0, 0, 0),
            "groups": channels,
        }


def _overhang(size: int, windows: int, stride: int, kernel: int) -> int:
    """How far the last of some windows reaches over a padded size."""
    return max((windows - 1) * stride + kernel - size, 0)


def _origin(node: Any) -> Node:
    """The float node behind quantise / dequantise pairs."""
    pairs = (decomposed.quantize_per_tensor.default, decomposed.dequantize_per_tensor.default)
    while q.calls(node, pairs):
        node = node.args[0]
    assert isinstance(node, Node)
    return node


def _sample_shape(node: Node) -> tuple[int, ...]:
    """Per-sample shape of a node's value: (C, H, W) as (H, W, C), vectors as they are."""
    shape = tuple(int(size) for size in node.meta["val"].shape[1:])
    return (*shape[1:], shape[0])


def _upper_bound(node: Node) -> float:
    if q.calls(node, q.RELUS):
        return math.inf
    if q.calls(node, q.RELU6S):
        return 6.0
    _, low, high = q.arguments(node, (None, -1.0, 1.0))
    if low != 0:
        raise UnsupportedNetworkError(f"{node.name}: its lower bound {low} is not 0")
    return float(high)


def _first_node(value: Any) -> Node:
    while isinstance(value, (tuple, list)):
        value = value[0]
    assert isinstance(value, Node)
    return value
