"""Weights of ONNX files: detectors with their decoding behind them.

The graph is never executed to get at its weights. A convolution of ours and one of the graph are
the same if they have the same shape and read what the same convolutions made; of several, those
that come first belong together. What scales and shifts a result (a batch norm, or what a frozen one
comes to) is folded. In the end onnxruntime computes the raw outputs of the heads, and they must be
ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from models.errors import WeightsError
from models.packages import installing_extra
from models.quantize.quantizer import CONVOLUTION_DEFAULTS, arguments
from models.task import Array
from models.weights.load import fill
from models.weights.onnx_check import TOLERANCE
from models.weights.onnx_file import check_operator, check_tensors, parse

if TYPE_CHECKING:
    from models.detection.detector import Detector

FOREIGN = "expected an fp32 file of this network as PyTorch exports it"
aten = torch.ops.aten


@dataclass(frozen=True)
class _Shape:
    """What tells convolutions apart that read the same."""

    weight: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int


@dataclass
class _Layer:
    """A convolution: of ours, `name` and `norm` are those of the modules; else of a value."""

    name: str
    shape: _Shape
    sources: frozenset[int]
    """Numbers of the convolutions whose results it reads, through whatever lies between, in all
    places where its weights are used."""
    norm: str | None = None
    weight: Array | None = None
    scale: Array | None = None
    shift: Array | None = None


def fill_from_onnx(task: Detector, network: nn.Module, path: Path) -> None:
    """Fill `network`, in evaluation mode. Raises WeightsError."""
    proto = _read(path)
    example = torch.zeros(1, 3, task.sample.height, task.sample.width)
    with torch.no_grad():
        exported = torch.export.export(network, (example,)).module()
    ours, ends = _our_layers(exported)
    theirs, uses = _their_layers(path, proto)
    pairs = _paired(path, ours, theirs)
    state: dict[str, torch.Tensor] = {}
    for own, number in pairs.items():
        state |= _state(network, ours[own], theirs[number])
    fill(network, state, path)
    _compare(task, network, path, proto, [uses[pairs[own]] for own in ends])


def kernel_shapes(path: Path) -> set[tuple[int, ...]]:
    """Shapes of the kernels of a file's convolutions. Raises WeightsError."""
    return {layer.shape.weight for layer in _their_layers(path, _read(path))[0]}


def _read(path: Path) -> Any:
    proto = parse(path)
    check_tensors(path, proto.graph.initializer)
    for node in proto.graph.node:
        check_operator(path, node)
    return proto


def _our_layers(exported: Any) -> tuple[list[_Layer], list[int]]:
    """The convolutions of our network in order, and for each of its outputs the one it is of."""
    made: dict[Any, frozenset[int]] = {}
    numbers: dict[str, int] = {}
    layers: list[_Layer] = []
    ends: list[int] = []
    for node in exported.graph.nodes:
        if node.op == "output":
            ends = [min(made[value]) for value in node.args[0]]
        elif node.op == "call_function":
            sources = frozenset().union(*(made.get(each, ()) for each in node.all_input_nodes))
            if node.target == aten.conv2d.default:
                weight = str(node.args[1].target)
                if weight not in numbers:
                    numbers[weight] = len(layers)
                    layers.append(_our_layer(exported, node, weight, sources))
                layer = layers[numbers[weight]]
                layer.sources |= sources
                sources = frozenset([numbers[weight]])
            made[node] = sources
    return layers, ends


def _our_layer(exported: Any, node: Any, weight: str, sources: frozenset[int]) -> _Layer:
    _, _, _, stride, _, _, groups = arguments(node, CONVOLUTION_DEFAULTS)
    behind = next(iter(node.users))
    norm = behind.target == aten.batch_norm.default
    return _Layer(
        weight.removesuffix(".weight"),
        _Shape(tuple(exported.get_parameter(weight).shape), tuple(stride), groups),
        sources,
        str(behind.args[1].target).removesuffix(".weight") if norm else None,
    )


def _their_layers(path: Path, proto: Any) -> tuple[list[_Layer], list[list[str]]]:
    """The graph's convolutions in order, and the results of each; one may be called repeatedly."""
    graph = _Constants(proto)
    made: dict[str, frozenset[int]] = {}
    numbers: dict[str, int] = {}
    layers: list[_Layer] = []
    uses: list[list[str]] = []
    for node in proto.graph.node:
        sources = frozenset().union(*(made.get(name, ()) for name in node.input))
        if node.op_type == "Conv":
            weight = graph.constant(node.input[1])
            if weight is None or weight.ndim != 4:
                raise WeightsError(f"{path}: Conv {node.output[0]} has no weights; {FOREIGN}")
            if node.input[1] not in numbers:
                numbers[node.input[1]] = len(layers)
                layers.append(graph.layer(node, weight, sources))
                uses.append([])
            layers[numbers[node.input[1]]].sources |= sources
            sources = frozenset([numbers[node.input[1]]])
            uses[numbers[node.input[1]]].append(node.output[0])
        for name in node.output:
            made[name] = sources
    return layers, uses


class _Constants:
    """What of a graph depends on no input, and what follows its convolutions."""

    def __init__(self, proto: Any) -> None:
        from onnx import numpy_helper

        self._values: dict[str, Array] = {
            t.name: numpy_helper.to_array(t) for t in proto.graph.initializer
        }
        self._readers: dict[str, list[Any]] = {}
        for node in proto.graph.node:
            self._evaluate(node, numpy_helper.to_array)
            for source in node.input:
                self._readers.setdefault(source, []).append(node)

    def constant(self, name: str) -> Array | None:
        """The value of a tensor that depends on no input."""
        return self._values.get(name)

    def _evaluate(self, node: Any, to_array: Callable[[Any], Array]) -> None:
        if node.op_type == "Constant":
            value = _attributes(node).get("value")
            if value is not None:
                self._values[node.output[0]] = to_array(value)
        elif node.op_type in _ARITHMETIC and all(name in self._values for name in node.input):
            given = [self._values[name] for name in node.input]
            with np.errstate(all="ignore"):
                self._values[node.output[0]] = _ARITHMETIC[node.op_type](*given)

    def layer(self, node: Any, weight: Array, sources: frozenset[int]) -> _Layer:
        """A convolution, with scale and shift of what follows it."""
        attributes = _attributes(node)
        outputs = len(weight)
        shape = _Shape(
            weight.shape, tuple(attributes.get("strides", (1, 1))), attributes.get("group", 1)
        )
        scale, shift = np.ones(outputs), np.zeros(outputs)
        if len(node.input) > 2 and node.input[2]:
            shift = self._values[node.input[2]].astype(np.float64)
        value = node.output[0]
        while len(readers := self._readers.get(value, [])) == 1:
            found = self._scaling(readers[0], outputs)
            if found is None:
                break
            scale, shift = scale * found[0], shift * found[0] + found[1]
            value = readers[0].output[0]
        return _Layer(node.output[0], shape, sources, None, weight, scale, shift)

    def _scaling(self, node: Any, outputs: int) -> tuple[Array, Array] | None:
        """Scale and shift of an operation, per channel; None where it is another one."""
        if node.op_type == "BatchNormalization":
            gain, bias, mean, variance = (
                self._values[name].astype(np.float64) for name in node.input[1:5]
            )
            own = gain / np.sqrt(variance + _attributes(node).get("epsilon", 1e-5))
            return own, bias - mean * own
        amounts = [self._values[name] for name in node.input if name in self._values]
        if node.op_type not in ("Mul", "Add") or len(amounts) != 1:
            return None
        amount = amounts[0].astype(np.float64)
        per_channel = amount.size == 1 or amount.squeeze().shape == (outputs,)
        if not per_channel:
            return None
        amount = amount.reshape(-1)
        if node.op_type == "Mul":
            return amount, np.zeros(outputs)
        return np.ones(outputs), amount


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _reshaped(value: Array, shape: Array) -> Array:
    return value.reshape([value.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


_ARITHMETIC: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Reshape": _reshaped,
    "Identity": lambda value: value,
}
"""What converters leave of a frozen batch norm, all of constants."""


def _paired(path: Path, ours: list[_Layer], theirs: list[_Layer]) -> dict[int, int]:
    """For the number of each convolution of ours that of the graph's."""
    pairs: dict[int, int] = {}
    free = dict.fromkeys(range(len(theirs)))
    left = dict(enumerate(ours))
    while left:
        number = next(n for n, layer in left.items() if layer.sources <= pairs.keys())
        layer = left.pop(number)
        sources = frozenset(pairs[source] for source in layer.sources)
        matching = [n for n in free if theirs[n].shape == layer.shape]
        found = next((n for n in matching if theirs[n].sources == sources), None)
        if found is None:
            near = f"; {theirs[matching[0]].name} has its shape" if matching else ""
            raise WeightsError(
                f"{path}: no convolution {list(layer.shape.weight)} that could be {layer.name}"
                f"{near}; {FOREIGN}"
            )
        pairs[number] = found
        del free[found]
    if free:
        raise WeightsError(f"{path}: {theirs[next(iter(free))].name} is none of ours; {FOREIGN}")
    return pairs


def _state(network: nn.Module, ours: _Layer, theirs: _Layer) -> dict[str, torch.Tensor]:
    """The numbers of a layer under the names of our module and the norm behind it."""
    assert theirs.weight is not None and theirs.scale is not None and theirs.shift is not None
    weight = theirs.weight.astype(np.float64)
    state: dict[str, Array] = {}
    if ours.norm is not None:
        epsilon: float = network.get_submodule(ours.norm).eps  # type: ignore[assignment]
        state[f"{ours.norm}.weight"] = theirs.scale
        state[f"{ours.norm}.bias"] = theirs.shift
        state[f"{ours.norm}.running_mean"] = np.zeros(len(weight))
        state[f"{ours.norm}.running_var"] = np.full(len(weight), 1 - epsilon)
    else:
        weight = weight * theirs.scale[:, None, None, None]
        state[f"{ours.name}.bias"] = theirs.shift
    state[f"{ours.name}.weight"] = weight
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}


def _compare(
    task: Detector, network: nn.Module, path: Path, proto: Any, results: list[list[str]]
) -> None:
    """Compare the heads' outputs on random pixels with onnxruntime's. Raises WeightsError.

    `results` names for each of our outputs the values that its head makes, one for each call.
    """
    import onnx

    try:
        import onnxruntime
    except ImportError:
        raise WeightsError(
            f"{path}: checking ONNX needs onnxruntime: {installing_extra('onnx')}"
        ) from None
    calls: dict[str, int] = {}
    wanted = []
    for values in results:  # a head that all levels share is called once for each
        place = calls.get(values[0], 0)
        wanted.append(values[min(place, len(values) - 1)])
        calls[values[0]] = place + 1
    del proto.graph.output[:]
    for name in wanted:
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    sample = task.sample
    pixels = np.random.default_rng(0).integers(0, 256, (1, *sample.shape), np.uint8)
    images = sample.normalise(pixels)
    given = images
    if not task.normalised_files:  # the published graph normalises by itself
        given = sample.interior(pixels).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    constant = {tensor.name for tensor in proto.graph.initializer}
    (name,) = [i.name for i in proto.graph.input if i.name not in constant]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        theirs = session.run(wanted, {name: given})
    except Exception as error:
        # onnxruntime raises a class of its own for every status, all of them plain Exceptions.
        first = str(error).splitlines()[0]
        raise WeightsError(f"{path}: onnxruntime cannot run it ({first})") from None
    with torch.inference_mode():
        ours = [output.numpy() for output in network(torch.from_numpy(images))]
    for own, other in zip(ours, theirs, strict=True):
        other = other.transpose(0, 2, 3, 1)
        off = (
            float(np.abs(own - other).max() / np.abs(other).max())
            if own.shape == other.shape
            else 1
        )
        if not off <= TOLERANCE:
            raise WeightsError(
                f"{path}: {type(network).__name__} with its weights does not compute what it "
                f"computes (outputs differ by {off:.1%} of the largest): padding, pooling or "
                "activations are others"
            )
