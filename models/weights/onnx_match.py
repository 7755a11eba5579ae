"""Finds our network's layers in an ONNX graph by walking both from their outputs to their input."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from models.errors import WeightsError
from models.weights.onnx_file import Array, Graph
from models.weights.onnx_layers import Found, Images, OnnxLayer, Sum, found, head


class _Difference(Exception):  # noqa: N818 - caught here, where another way may fit
    """The graphs differ; `depth` is how many layers had been found before."""

    def __init__(self, text: str, depth: int) -> None:
        super().__init__(text)
        self.depth = depth


def weights_for(network: nn.Module, graph: Graph) -> dict[str, torch.Tensor]:
    """Return the network's state dictionary from the graph's constants.

    Raises WeightsError that names the first layer that is missing, differs in shape or stride.
    """
    traced = fx.symbolic_trace(network)
    output = next(node for node in traced.graph.nodes if node.op == "output")
    (result,) = output.args
    matching = _Matching(traced, graph)
    try:
        matching.match(result, head(graph).name)
    except _Difference as difference:
        raise WeightsError(
            f"{graph.path}: does not fit {type(network).__name__} ({difference})"
        ) from None
    state: dict[str, torch.Tensor] = network.state_dict()
    for target, layer in matching.layers.items():
        state |= _state_of(traced, target, matching.norms.get(target), layer)
    return state


class _Matching:
    """Pairs of our modules and layers of the graph."""

    def __init__(self, traced: fx.GraphModule, graph: Graph) -> None:
        self.modules = dict(traced.named_modules())
        self.graph = graph
        self.layers: dict[str, OnnxLayer] = {}
        self.norms: dict[str, str] = {}

    def match(self, node: Any, value: str) -> None:
        """Pair what lies before our `node` with what lies before `value`."""
        ours, norm = self._ours(node)
        theirs = found(self.graph, value)
        if ours.op == "placeholder":
            if not isinstance(theirs, Images):
                raise self._difference(f"{theirs.name} stands where the network begins")
        elif ours.op == "call_module":
            self._match_layer(ours, norm, theirs)
        else:
            self._match_sum(ours, theirs)

    def _match_layer(self, ours: fx.Node, norm: str | None, theirs: Found) -> None:
        target = str(ours.target)
        if target in self.layers:
            if self.layers[target].name != theirs.name:
                raise self._difference(f"{theirs.name} for {target}")
            return
        module: Any = self.modules[target]
        if not isinstance(theirs, OnnxLayer):
            raise self._difference(f"missing: {target}; at its place is {theirs.name}")
        wanted = list(module.weight.shape)
        given = list(theirs.weight.shape[: len(wanted)])
        if given != wanted:
            raise self._difference(f"wrong shape: {theirs.name} {given} for {target} {wanted}")
        if isinstance(module, nn.Conv2d) and (module.stride, module.groups) != (
            theirs.stride,
            theirs.groups,
        ):
            raise self._difference(
                f"{theirs.name} has stride {theirs.stride} and {theirs.groups} groups, {target} "
                f"{module.stride} and {module.groups}"
            )
        self.layers[target] = theirs
        if norm is not None:
            self.norms[target] = norm
        self.match(ours.args[0], theirs.source)

    def _match_sum(self, ours: fx.Node, theirs: Found) -> None:
        if not isinstance(theirs, Sum):
            raise self._difference(f"missing: the addition {ours.name}; there is {theirs.name}")
        differences = []
        for sources in (theirs.sources, theirs.sources[::-1]):
            before = dict(self.layers), dict(self.norms)
            try:
                for node, value in zip(ours.args, sources, strict=True):
                    self.match(node, value)
            except _Difference as difference:
                differences.append(difference)
                self.layers, self.norms = before
            else:
                return
        raise max(differences, key=lambda difference: difference.depth)

    def _ours(self, node: Any) -> tuple[fx.Node, str | None]:
        """Walk back to a layer, an addition or the input; with the batch norm on the way."""
        norm = None
        while True:
            assert isinstance(node, fx.Node)
            module = self.modules.get(str(node.target)) if node.op == "call_module" else None
            if isinstance(module, nn.BatchNorm2d):
                norm = str(node.target)
            elif (
                node.op == "placeholder"
                or isinstance(module, (nn.Conv2d, nn.Linear))
                or node.target in (operator.add, torch.add)
            ):
                return node, norm
            node = node.args[0]

    def _difference(self, text: str) -> _Difference:
        return _Difference(text, len(self.layers))


def _state_of(
    traced: fx.GraphModule, target: str, norm: str | None, layer: OnnxLayer
) -> dict[str, torch.Tensor]:
    """Give a module, and the batch norm behind it, the numbers of a layer."""
    module: Any = traced.get_submodule(target)
    weight, shift = layer.weight, layer.shift
    state: dict[str, Array] = {}
    if norm is not None:
        epsilon = traced.get_submodule(norm).eps
        state[f"{norm}.weight"] = layer.scale
        state[f"{norm}.bias"] = shift
        state[f"{norm}.running_mean"] = np.zeros(len(shift))
        state[f"{norm}.running_var"] = np.full(len(shift), 1 - epsilon)
    else:
        weight = weight * layer.scale[:, None, None, None]
        state[f"{target}.bias"] = shift
    state[f"{target}.weight"] = weight.reshape(tuple(module.weight.shape))
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}
