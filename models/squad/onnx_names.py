"""The tensors of a BERT in ONNX, by Hugging Face's names.

Exporters keep the names of biases and normalisations. Weights of linear layers they fold into
constants without a name, turned over: a weight is found as what the input of its bias was
multiplied by. In files that were trained for int8, quantisation stands between, with the ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.weights.onnx_file import check_tensors, parse

Array = NDArray[Any]
LARGEST = 127
_PASSING = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Transpose"}
"""Operators that stand between a weight and its product."""


def read_named(path: Path) -> dict[str, Tensor]:
    """The initialisers of an ONNX file under the network's names. Raises WeightsError."""
    proto = parse(path)
    check_tensors(path, proto.graph.initializer)
    from onnx import numpy_helper

    initialisers = {tensor.name: tensor for tensor in proto.graph.initializer}
    makers = {name: node for node in proto.graph.node for name in node.output}
    constants: dict[str, Any] = dict(initialisers)
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute:
            constants[node.output[0]] = node.attribute[0].t
    read = _Reader(makers, constants, numpy_helper.to_array)
    found: dict[str, Array] = {
        name: numpy_helper.to_array(tensor)
        for name, tensor in initialisers.items()
        if name.startswith(("bert.", "qa_outputs.", "classifier.")) and tensor.data_type < 17
    }
    for node in proto.graph.node:
        if node.op_type != "Add":
            continue
        bias = next((n for n in node.input if n in initialisers and n.endswith(".bias")), None)
        product = next((makers[n] for n in node.input if n in makers), None)
        if bias is None or product is None or product.op_type not in ("MatMul", "Gemm"):
            continue
        linear = bias.removesuffix(".bias")
        weight, turned, amax = read.through(product.input[1])
        if weight is None:
            continue
        if f"{linear}.weight" not in found:
            # x W: inputs come first, unless the file turns them over by itself.
            found[f"{linear}.weight"] = weight if turned else weight.T
        if amax is not None:
            found[f"{linear}._weight_quantizer._amax"] = amax
        _, _, amax = read.through(product.input[0])
        if amax is not None:
            found[f"{linear}._input_quantizer._amax"] = amax
    return {name: torch.from_numpy(np.array(array)) for name, array in found.items()}


class _Reader:
    def __init__(self, makers: Mapping[str, Any], constants: Mapping[str, Any], read: Any) -> None:
        self._makers, self._constants, self._read = makers, constants, read

    def through(self, name: str) -> tuple[Array | None, bool, Array | None]:
        """The constant that a value comes from, whether it is turned over, and its range."""
        turned, amax = False, None
        while name not in self._constants:
            node = self._makers.get(name)
            if node is None or node.op_type not in _PASSING:
                return None, turned, amax
            if node.op_type == "Transpose":
                turned = not turned
            elif node.op_type == "QuantizeLinear" and node.input[1] in self._constants:
                scale = self._read(self._constants[node.input[1]])
                amax = np.asarray(np.max(scale) * LARGEST, np.float32)
            name = node.input[0]
        return np.asarray(self._read(self._constants[name])), turned, amax
