"""From torchao's reference graph (quantise / dequantise around float operators) to a program.

Every float operator of the reference graph reads dequantised values and its result is quantised
again. Lowering walks the graph once, remembers for each node which stored tensor it stands for, and
fuses convolution, residual addition and clamp into one operation when the quantisation of the
result is reached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

# Registers torch.ops.quantized_decomposed, which the reference graph calls.
import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
from numpy.typing import NDArray
from torch.fx import GraphModule, Node

from models.gated import Gated
from models.program import Convolution, Linear, MaxPool, Operation, Program, Tensor, Upsample
from models.quantize import quantizer as q
from models.quantize.deploy import UnsupportedNetworkError, parameter

if TYPE_CHECKING:
    from models.task import Field

decomposed = torch.ops.quantized_decomposed
DTYPES = {torch.uint8: "u8", torch.int8: "s8"}


def lower(
    graph: GraphModule, input_shape: tuple[int, int, int], outputs: Sequence[Field] = ()
) -> Program:
    """Lower a converted PT2E graph whose samples have `input_shape` (H, W, C).

    `outputs` are the fields of the graph's outputs, where any is `Gated`. Raises
    UnsupportedNetworkError at a node that no engine executes.
    """
    return _gated(_Lowering(graph, input_shape).run(), outputs)


def _gated(program: Program, outputs: Sequence[Field]) -> Program:
    """The program with uint8 steps for outputs of which only what exceeds a threshold matters."""
    tensors = dict(program.tensors)
    gated = set()
    for name, output in zip(program.outputs, outputs, strict=bool(outputs)):
        if isinstance(output, Gated):
            shape = tensors[name].shape
            tensors[name] = Tensor(shape, "u8", scale=output.step, offset=output.above)
            gated.add(name)
    operations = tuple(
        replace(o, clamp=math.inf) if isinstance(o, Convolution) and o.output in gated else o
        for o in program.operations
    )
    return replace(program, tensors=tensors, operations=operations)


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
        self.convolutions: dict[Node, dict[str, Any]] = {}  # node -> its fields, when emitted
        self.uses: dict[str, int] = {}  # layer -> how many operations use its constants
        self.input = ""

    def run(self) -> Program:
        outputs: tuple[str, ...] = ("",)
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self.input = node.name
            elif node.op == "output":
                outputs = tuple(self._stored(value) for value in _nodes(node.args))
            elif node.op == "call_function":
                self._call(node)
        return Program(
            *(self.input, outputs[0], self.tensors, tuple(self.operations), self.constants),
            further=outputs[1:],
        )

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
            self.pending[node] = {**self._activated(node), "clamp": _upper_bound(node)}
        elif q.calls(node, q.MAX_POOLS):
            self.pending[node] = self._max_pool(node)
        elif q.calls(node, q.AVERAGE_POOLS):
            self.pending[node] = self._average_pool(node)
        elif q.calls(node, q.UPSAMPLES):
            self.pending[node] = self._upsample(node)
        elif q.calls(node, q.PERMUTES):
            self._map_output(node)
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
        layer = fields["name"]
        if kind is Convolution:
            self.convolutions[_convolution_of(node)] = fields
            self.uses[layer] = self.uses.get(layer, 0) + 1
            if self.uses[layer] > 1:
                fields = {**fields, "name": f"{layer}@{self.uses[layer]}", "shares": layer}
        self.tensors[node.name] = Tensor(shape, "f32")
        self.operations.append(kind(output=node.name, **fields))
        self.stored[node] = node.name

    def _activated(self, node: Node) -> dict[str, Any]:
        """The operation that an activation belongs to.

        Where the value before the activation is read elsewhere, too, its convolution is computed
        once more, from the same constants.
        """
        source = node.args[0]
        if isinstance(source, Node) and source in self.pending:
            return self.pending.pop(source)
        again = self.convolutions.get(_origin(source))
        if again is None or "clamp" in again or "residual" in again:
            raise UnsupportedNetworkError(f"{node.name}: an activation without a convolution")
        return {**again, "type": Convolution}

    def _map_output(self, node: Node) -> None:
        """A convolution of float32 results, channels last: an output."""
        source, order = node.args[0], node.args[1]
        fields = self.pending.pop(source, None) if isinstance(source, Node) else None
        if (
            fields is None
            or fields["type"] is not Convolution
            or "clamp" in fields
            or order != [0, 2, 3, 1]
            or not q.is_head(node)
        ):
            raise UnsupportedNetworkError(
                f"{node.name}: only convolutions may be outputs, with their channels last"
            )
        assert isinstance(source, Node)
        del fields["type"]
        self._emit(node, Convolution, fields, _sample_shape(source))

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

    def _upsample(self, node: Node) -> dict[str, Any]:
        source = self._stored(node.args[0])
        height, width = self.tensors[source].shape[:2]
        wide, high = _sample_shape(node)[1], _sample_shape(node)[0]
        factor = high // height
        if (high, wide) != (factor * height, factor * width):
            raise UnsupportedNetworkError(f"{node.name}: {height} x {width} to {high} x {wide}")
        return {"type": Upsample, "name": node.name, "source": source, "factor": factor}

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


def _nodes(value: Any) -> list[Node]:
    if isinstance(value, (tuple, list)):
        return [node for each in value for node in _nodes(each)]
    assert isinstance(value, Node)
    return [value]


def _convolution_of(node: Node) -> Node:
    """The convolution whose result is quantised, or an output, at `node`."""
    while not q.calls(node, q.CONVOLUTIONS + q.AVERAGE_POOLS):
        if q.calls(node, q.ADDITIONS):
            found = q.fused_add(node)
            assert found is not None
            node = found[0]
        else:
            node = node.all_input_nodes[0]
    return node
