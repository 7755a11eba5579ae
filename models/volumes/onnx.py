"""Weights of ONNX files, whatever their tensors are called: layers are taken in their order.

The graph is not executed for its weights. In the end onnxruntime computes a small window, and our
network must compute the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import WeightsError
from models.packages import installing_extra
from models.volumes.widths import Widths
from models.weights.load import fill
from models.weights.onnx_check import TOLERANCE
from models.weights.onnx_file import Graph, read_graph

if TYPE_CHECKING:
    from models.volumes.architecture import Architecture

KINDS: dict[str, type[nn.Module]] = {
    "Conv": nn.Conv3d,
    "ConvTranspose": nn.ConvTranspose3d,
    "InstanceNormalization": nn.InstanceNorm3d,
}
FOREIGN = "expected an fp32 file of this network as PyTorch exports it"


def widths_of(path: Path) -> Widths:
    """The widths of the network in a file. Raises WeightsError."""
    return _widths(path, _layers(read_graph(path)))


def load_onnx(architecture: Architecture, path: Path) -> nn.Module:
    """The network with the weights of a file, in float32. Raises WeightsError."""
    graph = read_graph(path)
    theirs = _layers(graph)
    network = architecture.make(_widths(path, theirs)).eval()
    ours = execution_order(network)
    if [kind for kind, _ in theirs] != [type(module) for _, module in ours]:
        raise WeightsError(
            f"{path}: has {len(theirs)} layers in another order than {type(network).__name__}'s "
            f"{len(ours)}; {FOREIGN}"
        )
    state: dict[str, Tensor] = {}
    for (name, _), (_, arrays) in zip(ours, theirs, strict=True):
        for what, array in zip(("weight", "bias"), arrays, strict=False):
            state[f"{name}.{what}"] = torch.from_numpy(np.array(array))
    # Heads that only training has are in no graph.
    fill(network, network.state_dict() | state, path)
    _compare(network, graph)
    return network


def execution_order(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Names and modules of the layers with weights, as they are executed."""
    found: list[tuple[str, nn.Module]] = []
    layers: dict[Any, str] = {
        m: n for n, m in network.named_modules() if isinstance(m, tuple(KINDS.values()))
    }
    hooks = [
        module.register_forward_hook(lambda module, *_: found.append((layers[module], module)))
        for module in layers
    ]
    try:
        with torch.no_grad():
            network(_window(network))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _window(network: nn.Module) -> Tensor:
    """A small window of noise; its lowest level has several voxels, as a norm needs."""
    widths: Widths = network.widths  # type: ignore[assignment]
    random = np.random.default_rng(0)
    shape = (1, widths.inputs, *[2 * widths.multiple] * 3)
    return torch.from_numpy(random.standard_normal(shape, np.float32))


def _layers(graph: Graph) -> list[tuple[type[nn.Module], list[Any]]]:
    """Layers that the first output depends on, each with its weights."""
    needed = {graph.outputs[0]}
    found = []
    for node in reversed(graph.proto.graph.node):
        if needed.isdisjoint(node.output):
            continue
        needed.update(node.input)
        if node.op_type in KINDS:
            arrays = [graph.constant(name) for name in node.input[1:] if name]
            if not arrays or any(array is None for array in arrays):
                raise WeightsError(
                    f"{graph.path}: {node.op_type} {node.output[0]} has no weights; {FOREIGN}"
                )
            found.append((KINDS[node.op_type], arrays))
    return found[::-1]


def _widths(path: Path, layers: list[tuple[type[nn.Module], list[Any]]]) -> Widths:
    convolutions = [arrays[0] for kind, arrays in layers if kind is nn.Conv3d]
    levels = 1 + sum(kind is nn.ConvTranspose3d for kind, _ in layers)
    # Two at each level on the way down, two on the way up, and the last one.
    if levels < 2 or len(convolutions) != 2 * levels + 2 * (levels - 1) + 1:
        raise WeightsError(
            f"{path}: not a 3D U-Net: {len(convolutions)} convolutions, {levels - 1} transposed; "
            f"{FOREIGN}"
        )
    channels = tuple(len(weight) for weight in convolutions[: 2 * levels : 2])
    return Widths(channels, convolutions[0].shape[1], len(convolutions[-1]))


def _compare(network: nn.Module, graph: Graph) -> None:
    """Compare the logits of a small window with onnxruntime's. Raises WeightsError."""
    import onnx

    try:
        import onnxruntime
    except ImportError:
        raise WeightsError(
            f"{graph.path}: checking ONNX needs onnxruntime: {installing_extra('onnx')}"
        ) from None
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    # Files are made for one shape; nothing but what is declared of values depends on it.
    del proto.graph.value_info[:]
    for value in [i for i in proto.graph.input if i.name == graph.input]:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    name = graph.outputs[0]
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    window = _window(network)
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (theirs,) = session.run([name], {graph.input: window.numpy()})
    except Exception as error:
        # onnxruntime raises a class of its own for every status, all of them plain Exceptions.
        first = str(error).splitlines()[0]
        raise WeightsError(f"{graph.path}: onnxruntime cannot run it ({first})") from None
    with torch.inference_mode():
        ours = network(window).numpy()
    off = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not off <= TOLERANCE:
        raise WeightsError(
            f"{graph.path}: {type(network).__name__} with its weights does not compute what it "
            f"computes (logits differ by {off:.1%} of the largest): norms, strides or activations "
            "are others"
        )
