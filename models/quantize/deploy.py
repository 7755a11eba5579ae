"""From a float network to the graph that is quantised: exported, batch norm and input folded.

Samples reach an engine as raw uint8 pixels with their border already around them (see
`models.model.SampleFormat`). This module moves the normalisation ``(pixel - mean) / std`` and the
first convolution's zero padding out of the network and into that convolution's weights and bias,
so that an engine convolves pixels directly and no per-batch conversion exists.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.optimization import fuse

from models.quantize.quantizer import (
    CONVOLUTION_DEFAULTS,
    CONVOLUTIONS,
    PADS,
    arguments,
    calls,
    pad_amounts,
)

if TYPE_CHECKING:
    from models.sample import SampleFormat


class UnsupportedNetworkError(Exception):
    """The network has a form that cannot be deployed; the message names the node."""


def export_network(network: nn.Module, sample: SampleFormat, batch_size: int = 2) -> GraphModule:
    """Export `network` (normalised float32 NCHW in, logits out) as a graph over pixel samples.

    The result takes float32 NCHW tensors that hold pixel values of bordered samples, shape
    ``(batch_size, 3, *sample.shape[:2])``. Batch norms are folded into their convolutions.
    Raises UnsupportedNetworkError where the input does not feed one padded convolution.
    """
    folded = fuse(network.eval())
    example = torch.zeros(batch_size, 3, sample.height, sample.width)
    with torch.no_grad():
        graph = torch.export.export(folded, (example,)).module()
    assert isinstance(graph, GraphModule)
    _fold_input(graph, sample)
    return graph


def parameter(graph: GraphModule, node: object) -> torch.Tensor:
    """The tensor behind a ``get_attr`` node."""
    if not isinstance(node, Node) or node.op != "get_attr":
        raise UnsupportedNetworkError(f"{node} is not a parameter of the network")
    value = operator.attrgetter(str(node.target))(graph)
    assert isinstance(value, torch.Tensor)
    return value


def _fold_input(graph: GraphModule, sample: SampleFormat) -> None:
    source = next(n for n in graph.graph.nodes if n.op == "placeholder")
    consumers = [u for u in source.users if u.op == "call_function" and not _is_guard(u)]
    pads = (0, 0, 0, 0)  # top, bottom, left, right
    pad_node = None
    if len(consumers) == 1 and calls(consumers[0], PADS):
        pad_node = consumers[0]
        pads = pad_amounts(pad_node)
        consumers = list(pad_node.users)
    if len(consumers) != 1 or not calls(consumers[0], CONVOLUTIONS):
        raise UnsupportedNetworkError("the input must feed exactly one convolution")
    conv = consumers[0]
    args = arguments(conv, CONVOLUTION_DEFAULTS)
    vertical, horizontal = args[4] if len(args[4]) == 2 else args[4] * 2
    pads = (pads[0] + vertical, pads[1] + vertical, pads[2] + horizontal, pads[3] + horizontal)
    if pads != tuple(sample.pad):
        raise UnsupportedNetworkError(f"the sample's border {sample.pad} is not the padding {pads}")
    mean = torch.tensor(sample.mean, dtype=torch.float64).view(1, -1, 1, 1)
    std = torch.tensor(sample.std, dtype=torch.float64).view(1, -1, 1, 1)
    if args[2] is None:
        raise UnsupportedNetworkError("the first convolution must have a bias (or a batch norm)")
    weight, bias = parameter(graph, args[1]), parameter(graph, args[2])
    scaled = weight.double() / std
    with torch.no_grad():
        bias.copy_(bias.double() - (scaled * mean).sum(dim=(1, 2, 3)))
        weight.copy_(scaled)
    args[0], args[4] = source, [0, 0]
    conv.args = tuple(args)
    if pad_node is not None:
        graph.graph.erase_node(pad_node)
    for guard in [u for u in source.users if _is_guard(u)]:
        graph.graph.erase_node(guard)
    graph.recompile()


def _is_guard(node: Node) -> bool:
    return not node.users and node.op != "output"
