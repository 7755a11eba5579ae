"""What is quantised, and how: the annotation that torchao's PT2E flow follows.

The scheme is the one int8 convolution kernels of x86 (VNNI) and Arm (I8MM) run fastest:

===========================  ======================================================
tensor                       representation
===========================  ======================================================
network input                uint8 pixels as they are: scale 1, zero point 0
weights                      int8, symmetric, one scale per output channel (see `rounding`)
activation after ReLU(6)     uint8, zero point 0
other activations            int8, symmetric (zero point 0)
bias, accumulators           float32 bias, int32 accumulators
logits                       float32
===========================  ======================================================

Zero points are all zero, so padding is exact and no kernel pays for compensation terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import (
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from models.quantize.observer import LeastErrorObserver

aten = torch.ops.aten

CONVOLUTIONS = (aten.conv2d.default,)
LINEARS = (aten.linear.default,)
ADDITIONS = (aten.add.Tensor, aten.add_.Tensor)
RELUS = (aten.relu.default, aten.relu_.default)
RELU6S = (aten.relu6.default, aten.relu6_.default)
HARDTANHS = (aten.hardtanh.default, aten.hardtanh_.default)
CLAMPS = RELUS + RELU6S + HARDTANHS
MAX_POOLS = (aten.max_pool2d.default,)
AVERAGE_POOLS = (aten.adaptive_avg_pool2d.default, aten.mean.dim)
SHAPES = (aten.flatten.using_ints, aten.view.default, aten.reshape.default)
PERMUTES = (aten.permute.default,)
UPSAMPLES = (aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default)
PADS = (aten.pad.default, aten.constant_pad_nd.default)
# input, weight, bias, stride, padding, dilation, groups
CONVOLUTION_DEFAULTS = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
PASS_THROUGH = MAX_POOLS + UPSAMPLES + SHAPES + PADS

PIXELS = FixedQParamsQuantizationSpec(
    dtype=torch.uint8,
    scale=1.0,
    zero_point=0,
    quant_min=0,
    quant_max=255,
    qscheme=torch.per_tensor_affine,
)
WEIGHTS = QuantizationSpec(
    dtype=torch.int8,
    observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=2**-16),
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
)
UNSIGNED = QuantizationSpec(
    dtype=torch.uint8,
    observer_or_fake_quant_ctr=LeastErrorObserver,
    quant_min=0,
    quant_max=255,
    qscheme=torch.per_tensor_affine,
)
SIGNED = QuantizationSpec(
    dtype=torch.int8,
    observer_or_fake_quant_ctr=LeastErrorObserver,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_tensor_symmetric,
)


def calls(node: object, targets: Iterable[object]) -> bool:
    """Whether `node` is a call of one of `targets` (overloads of aten operators)."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in tuple(targets)


def arguments(node: Node, defaults: Sequence[Any]) -> list[Any]:
    """The positional arguments of a call, with defaults for those it leaves out."""
    return [*node.args, *defaults[len(node.args) :]]


def pair(value: Any) -> tuple[int, int]:
    """A size for both directions, given as one integer or as a list of one or two."""
    values = [value] * 2 if isinstance(value, int) else list(value)
    return (values * 2)[0], (values * 2)[1]


def layer_name(node: Node) -> str:
    """Name of a convolution or linear layer: its module's path, or the node's name."""
    bias = node.args[2] if len(node.args) > 2 else None
    return str(bias.target).removesuffix(".bias") if isinstance(bias, Node) else node.name


def pad_amounts(node: Node) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a zero-padding node."""
    left, right, top, bottom = [*node.args[1], 0, 0][:4]  # type: ignore[misc, union-attr]
    return top, bottom, left, right


def fused_add(node: Node) -> tuple[Node, Node] | None:
    """For an addition that a convolution can absorb: (that convolution, the other operand).

    The convolution has no other user; of two candidates the later one wins, because by then the
    other operand is finished and the sum can be accumulated in place.
    """
    operands = [a for a in node.args[:2] if isinstance(a, Node)]
    order = {n: i for i, n in enumerate(node.graph.nodes)}
    candidates = [a for a in operands if calls(a, CONVOLUTIONS) and len(a.users) == 1]
    if len(operands) != 2 or not candidates:
        return None
    conv = max(candidates, key=order.__getitem__)
    other = operands[1] if conv is operands[0] else operands[0]
    return conv, other


def is_head(node: Node) -> bool:
    """Whether `node`'s value is the network's output, at most reshaped: it stays float32."""
    users = list(node.users)
    while len(users) == 1 and calls(users[0], SHAPES + PERMUTES):
        users = list(users[0].users)
    return len(users) == 1 and users[0].op == "output"


class Int8Quantizer(Quantizer):  # type: ignore[misc]
    """Annotates convolution, linear, residual addition, ReLU(6) and pooling for int8 execution."""

    def annotate(self, model: GraphModule) -> GraphModule:
        """Annotate every node of an exported graph; a node it does not know stays float32."""
        absorbed: dict[Node, Node] = {}  # convolution -> the last node of its fused chain
        for node in model.graph.nodes:
            if calls(node, ADDITIONS):
                fused = fused_add(node)
                if fused is not None:
                    absorbed[fused[0]] = node
        for node in model.graph.nodes:
            if calls(node, CONVOLUTIONS):
                self._annotate_convolution(node, absorbed.get(node, node))
            elif calls(node, LINEARS):
                self._annotate_linear(node)
            elif calls(node, AVERAGE_POOLS):
                # Means span a much smaller range than what they are means of.
                spec = _output_spec(node.args[0])
                self._annotate(node, {node.args[0]: spec}, spec)
            elif calls(node, PASS_THROUGH) and not is_head(node):
                source = node.args[0]
                self._annotate(
                    node, {source: _output_spec(source)}, SharedQuantizationSpec((source, node))
                )
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to add: what cannot be executed is found when the graph is lowered."""

    def _annotate_convolution(self, conv: Node, tail: Node) -> None:
        source, weight = conv.args[0], conv.args[1]
        self._annotate(conv, {source: _output_spec(source), weight: WEIGHTS}, None)
        if tail is not conv:  # the residual operand
            _, other = fused_add(tail) or (None, None)
            assert other is not None
            self._annotate(tail, {other: _output_spec(other)}, None)
        clamp = _only_user(tail)
        if clamp is not None and calls(clamp, CLAMPS):
            self._annotate(clamp, {}, UNSIGNED)
        elif not is_head(tail):
            tail.meta["quantization_annotation"].output_qspec = SIGNED

    def _annotate_linear(self, node: Node) -> None:
        source, weight = node.args[0], node.args[1]
        self._annotate(node, {source: _output_spec(source), weight: WEIGHTS}, None)

    @staticmethod
    def _annotate(node: Node, inputs: dict[Node, object], output: object) -> None:
        node.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map=inputs, output_qspec=output, _annotated=True
        )


def _only_user(node: Node) -> Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _output_spec(node: Node) -> object:
    """The specification under which `node`'s value is stored; consumers share its observer."""
    if node.op == "placeholder":
        return PIXELS
    if calls(node, PASS_THROUGH + AVERAGE_POOLS):
        return _output_spec(node.args[0])
    return UNSIGNED if calls(node, CLAMPS) else SIGNED
