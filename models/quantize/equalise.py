"""Ranges of channels made alike, where no activation bounds them: one scale then fits them all.

A tensor is stored with one scale, and in a network like MobileNetV2 the channels between the blocks
differ in range by orders of magnitude: what is small is rounded away. Nothing but sums of channels
and convolutions read such a tensor, so that each channel may be multiplied by a number of its own
if those who read it divide by that (Nagel et al., Data-Free Quantization through Weight
Equalization and Bias Correction, 2019, section 4.1). Weights have a scale for every output channel,
and their rounding makes up for what their columns lose.

Which channels have to keep in step is found by uniting them: those of the two sides of an addition,
of what a layer reads wherever its weights are used, and of what it makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from models.quantize.deploy import parameter
from models.quantize.quantizer import (
    ADDITIONS,
    CONVOLUTION_DEFAULTS,
    CONVOLUTIONS,
    MAX_POOLS,
    PADS,
    RELUS,
    UPSAMPLES,
    arguments,
    calls,
    layer_name,
)

THROUGH = RELUS + MAX_POOLS + PADS + UPSAMPLES
"""What treats each channel for itself, and a multiple of it as that multiple."""
MOST = 64.0
"""By how much a channel is multiplied or divided at most."""


@dataclass
class _Axis:
    """Channels of tensors that keep in step."""

    fixed: bool = False
    tensors: list[Node] = field(default_factory=list)
    made_by: dict[str, Node] = field(default_factory=dict)
    """Convolutions by layer name whose outputs they are."""
    read_by: dict[str, Node] = field(default_factory=dict)


class _Axes:
    """The axes of a graph, united as far as they have to be."""

    def __init__(self, graph: GraphModule) -> None:
        self._parent: dict[Any, Any] = {}
        self._fixed: set[Any] = set()
        self.convolutions = [n for n in graph.graph.nodes if calls(n, CONVOLUTIONS)]
        for node in graph.graph.nodes:
            if calls(node, CONVOLUTIONS):
                name = layer_name(node)
                self._unite(("in", name), node.args[0])
                self._unite(("out", name), node)
            elif calls(node, THROUGH):
                self._unite(node, node.args[0])
            elif calls(node, ADDITIONS):
                for operand in node.args[:2]:
                    self._unite(node, operand) if isinstance(operand, Node) else self._fix(node)
            else:  # inputs, outputs, and all that looks at channels in another way
                for each in (node, *node.all_input_nodes):
                    self._fix(each)

    def found(self) -> list[_Axis]:
        """All axes that a convolution makes, and others."""
        axes: dict[Any, _Axis] = {}
        for key in [*self._parent]:
            axis = axes.setdefault(self._root(key), _Axis())
            axis.fixed |= key in self._fixed
            if isinstance(key, Node):
                axis.tensors.append(key)
        for node in self.convolutions:
            name = layer_name(node)
            axes[self._root(("out", name))].made_by[name] = node
            axes[self._root(("in", name))].read_by[name] = node
        return [*axes.values()]

    def _root(self, key: Any) -> Any:
        self._parent.setdefault(key, key)
        while self._parent[key] != key:
            key = self._parent[key]
        return key

    def _unite(self, one: Any, other: Any) -> None:
        self._parent[self._root(one)] = self._root(other)

    def _fix(self, key: Any) -> None:
        self._root(key)
        self._fixed.add(key)


class _Ranges(Interpreter):  # type: ignore[misc]
    """Largest magnitudes of the channels of some tensors, over all batches."""

    def __init__(self, graph: GraphModule, wanted: Iterable[Node]) -> None:
        super().__init__(graph)
        self._wanted = set(wanted)
        self.largest: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        """Run one node of the graph."""
        value = super().run_node(n)
        if n in self._wanted:
            found = value.abs().amax([d for d in range(value.dim()) if d != 1])
            self.largest[n] = torch.maximum(self.largest.get(n, found), found)
        return value


def equalise(graph: GraphModule, batches: Iterable[Tensor]) -> None:
    """Make the ranges of channels alike in an exported graph, which computes what it did before.

    `batches` are what ranges are taken from: float32 NCHW pixel tensors, as the graph takes them.
    """
    axes = [axis for axis in _Axes(graph).found() if _free(axis)]
    ranges = _Ranges(graph, [node for axis in axes for node in axis.tensors])
    with torch.no_grad():
        for batch in batches:
            ranges.run(batch)
        for axis in axes:
            largest = torch.stack([ranges.largest[node] for node in axis.tensors]).amax(0)
            if bool((largest > 0).any()):
                middle = largest[largest > 0].log().mean().exp()
                factor = (middle / largest.clamp(min=1e-12)).clamp(1 / MOST, MOST)
                _multiply(graph, axis, factor)


def _free(axis: _Axis) -> bool:
    """Whether the channels can be multiplied: convolutions make all of them, and others read them.

    Those that are read behind a ReLU alone are left as they are: their ranges are more alike.
    """
    plain = any(not _rectified(node.args[0]) for node in axis.read_by.values())
    return not axis.fixed and plain and bool(axis.made_by)


def _rectified(node: Any) -> bool:
    while calls(node, MAX_POOLS + PADS + UPSAMPLES):
        node = node.args[0]
    return calls(node, RELUS)


def _multiply(graph: GraphModule, axis: _Axis, factor: Tensor) -> None:
    for node in axis.made_by.values():
        weight = parameter(graph, node.args[1])
        weight.mul_(factor.view(-1, *[1] * (weight.dim() - 1)))
        if len(node.args) > 2 and node.args[2] is not None:
            parameter(graph, node.args[2]).mul_(factor)
    for node in axis.read_by.values():
        weight = parameter(graph, node.args[1])
        groups = arguments(node, CONVOLUTION_DEFAULTS)[6]
        each = factor.view(groups, 1, -1, 1, 1)
        weight.copy_((weight.unflatten(0, (groups, -1)) / each).flatten(0, 1))
