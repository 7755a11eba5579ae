"""Bias correction: rounded weights shift a layer's mean output; its bias takes the shift back.

After a ReLU inputs have positive means, so the errors of the weights of one output channel do not
average out: they add up to a constant, ``sum((quantised - exact) * mean input)``, which is known
and can be subtracted (Nagel et al., Data-Free Quantization through Weight Equalization and Bias
Correction, 2019, section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch.fx import GraphModule

from models.program import Convolution, Program
from models.quantize.deploy import parameter
from models.quantize.quantizer import CONVOLUTIONS, LINEARS, calls, layer_name


def float_weights(graph: GraphModule) -> dict[str, NDArray[np.float32]]:
    """The weights of all layers of an exported graph, by layer name."""
    return {
        layer_name(node): parameter(graph, node.args[1]).detach().numpy().copy()
        for node in graph.graph.nodes
        if calls(node, CONVOLUTIONS + LINEARS)
    }


def correct_bias(
    program: Program,
    exact: Mapping[str, NDArray[np.float32]],
    means: Mapping[str, NDArray[np.float32]],
) -> Program:
    """`program` with the mean effect of weight rounding taken out of its biases."""
    constants = dict(program.constants)
    groups = {o.layer: o.groups for o in program.operations if isinstance(o, Convolution)}
    for name, weight in exact.items():
        quantised = constants[f"{name}.weight"].astype(np.float32).reshape(weight.shape)
        scales = constants[f"{name}.scales"].reshape(-1, *[1] * (weight.ndim - 1))
        error = (quantised * scales - weight).reshape(*weight.shape[:2], -1).sum(-1)
        shift = _weighed(error, means[name], groups.get(name, 1))
        constants[f"{name}.bias"] = constants[f"{name}.bias"] - shift.astype(np.float32)
    return replace(program, constants=constants)


def _weighed(
    error: NDArray[np.float32], mean: NDArray[np.float32], groups: int
) -> NDArray[np.float32]:
    """What errors (out, in / groups) of weights add to the outputs for mean inputs (in,)."""
    if groups == 1:
        shift: NDArray[np.float32] = error @ mean
        return shift
    # An output weighs the inputs of its group alone; a depthwise channel has one, its own.
    grouped = error.reshape(groups, -1, error.shape[1]) * mean.reshape(groups, 1, -1)
    return np.asarray(grouped.sum(-1), np.float32).reshape(-1)
