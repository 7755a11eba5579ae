"""An ONNX file as a graph that can be walked from its outputs to its input.

The file is parsed and never executed here. Tensors must stand in the file itself, and operators
must be ONNX's own: no other file is opened and no library is loaded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.unchanged import OncePerFile
from models.errors import WeightsError
from models.packages import installing_extra

Array = NDArray[Any]


class Graph:
    """Nodes by the value they make, constants by name, and the one input."""

    def __init__(self, path: Path, proto: Any) -> None:
        """Take a checked onnx.ModelProto read from `path`. Raises WeightsError."""
        from onnx import helper

        self.path = path
        self.proto = proto
        self.makers = {name: node for node in proto.graph.node for name in node.output}
        self._initialisers = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._constants: dict[str, Array | None] = {}
        self._attributes: Callable[[Any], Any] = helper.get_attribute_value
        inputs = [i for i in proto.graph.input if i.name not in self._initialisers]
        if len(inputs) != 1:
            raise WeightsError(f"{path}: has {len(inputs)} inputs, expected one (the images)")
        self.input = inputs[0].name
        shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        self.channels_last = len(shape) == 4 and shape[-1] == 3 and shape[1] != 3
        """Whether images are n x height x width x channel instead of n x channel x ..."""

    @property
    def outputs(self) -> list[str]:
        """Names of the graph's outputs."""
        return [output.name for output in self.proto.graph.output]

    def attributes(self, node: Any) -> dict[str, Any]:
        """Return a node's attributes by name."""
        return {a.name: self._attributes(a) for a in node.attribute}

    def constant(self, name: str) -> Array | None:
        """Return the value of a tensor that depends on no input; None for any other."""
        if name not in self._constants:
            self._constants[name] = self._evaluate(name)
        return self._constants[name]

    def _evaluate(self, name: str) -> Array | None:
        from onnx import numpy_helper

        if name in self._initialisers:
            return np.asarray(numpy_helper.to_array(self._initialisers[name]))
        node = self.makers.get(name)
        if node is None:
            return None
        attributes = self.attributes(node)
        if node.op_type == "Constant" and "value" in attributes:
            return np.asarray(numpy_helper.to_array(attributes["value"]))
        values = [self.constant(source) for source in node.input]
        if node.op_type not in _REARRANGING or not values or any(v is None for v in values):
            return None
        try:
            return _REARRANGING[node.op_type](attributes, *values)
        except (ValueError, TypeError, IndexError) as error:
            raise WeightsError(f"{self.path}: {node.op_type} {name}: {error}") from None


def parse(path: Path) -> Any:
    """The onnx.ModelProto of a file, without other files. Raises WeightsError where it is none.

    What it holds is not looked at: see `check_tensors`, `check_operator` and `read_graph`.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise WeightsError(
            f"{path}: reading ONNX needs onnx and onnxruntime: {installing_extra('onnx')}"
        ) from None
    try:
        return onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError):
        raise WeightsError(f"{path}: not a whole ONNX file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None


def check_tensors(path: Path, tensors: Iterable[Any]) -> None:
    """Raise WeightsError where one of them stands in another file."""
    import onnx

    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise WeightsError(
                f"{path}: tensor {tensor.name} stands in another file; save the model as one file"
            )


def check_operator(path: Path, node: Any) -> None:
    """Raise WeightsError where a node's operator is not ONNX's own."""
    if node.domain not in ("", "ai.onnx"):
        raise WeightsError(f"{path}: operator {node.domain}.{node.op_type} is not ONNX's own")


def _read(path: Path) -> Graph:
    proto = parse(path)
    if not proto.graph.node:
        raise WeightsError(f"{path}: an ONNX file without a network")
    _refuse_what_reaches_outside(path, proto)
    return Graph(path, proto)


read_graph = OncePerFile(_read)
"""Parse an ONNX file. Raises WeightsError where it is none or reaches outside itself."""


def _refuse_what_reaches_outside(path: Path, proto: Any) -> None:
    tensors = list(proto.graph.initializer)
    for node in proto.graph.node:
        check_operator(path, node)
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise WeightsError(f"{path}: {node.op_type} {node.name}: control flow")
            tensors += [attribute.t, *attribute.tensors]
    check_tensors(path, tensors)
    if proto.graph.sparse_initializer or proto.functions:
        raise WeightsError(f"{path}: sparse tensors and functions are not read")


def _squeeze(attributes: dict[str, Any], x: Array, axes: Array | None = None) -> Array:
    chosen = attributes.get("axes") if axes is None else axes.tolist()
    return np.squeeze(x, None if chosen is None else tuple(chosen))


def _unsqueeze(attributes: dict[str, Any], x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(attributes["axes"] if axes is None else axes.tolist()))


def _transpose(attributes: dict[str, Any], x: Array) -> Array:
    return np.transpose(x, attributes.get("perm"))


def _reshape(attributes: dict[str, Any], x: Array, shape: Array) -> Array:
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape.tolist())])


_REARRANGING: dict[str, Callable[..., Array]] = {
    "Identity": lambda attributes, x: x,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Operators that converters leave on constants: none computes new numbers."""
