"""Turns a 3D U-Net in float32 into an int8 program (imports torch).

Weights are symmetric, a scale for each output channel. Channels of activations have steps of their
own, by their largest values in the calibration windows, which the weights of what reads them take
in; so parts of a concatenation are written with its steps from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from models.quantize.deploy import UnsupportedNetworkError
from models.task import Array
from models.volume_program import Block, Double, Head, Operation, VolumeProgram
from models.volume_program import Tensor as Stored

VERSION = 1
"""Raised when the same network and windows would give another program."""
Progress = Callable[[int, int], None]
LARGEST = {"u8": 255.0, "s8": 127.0}
SMALLEST = 1e-8
"""A range of nothing but zeros still needs a scale."""
EVEN = 0.5
"""How far channels of a tensor get steps of their own: 0 not at all, 1 wholly. Differences move
into the weights of what reads them, where rounding is of each output channel, over all inputs."""


def quantise_volumes(
    module: nn.Module, windows: Sequence[Mapping[str, Array]], progress: Progress
) -> VolumeProgram:
    """The int8 program of a module over one volume, its ranges from calibration windows.

    `windows` are {field: float32 [channels, D, H, W]}, of one field. Raises UnsupportedNetworkError
    for a module that is no 3D U-Net, ValueError for windows without values.
    """
    graph = _Graph(module)
    ranges = _Ranges(graph)
    for number, window in enumerate(windows):
        progress(number, len(windows))
        (array,) = window.values()
        if not np.isfinite(array).all():
            raise ValueError("a calibration window has values that are not finite")
        ranges.see(torch.from_numpy(np.array(array))[None])
    progress(len(windows), len(windows))
    if not windows:
        raise ValueError("no calibration windows")
    return _Writer(graph, ranges).program()


def supported(module: nn.Module) -> bool:
    """Whether a module is one that `quantise_volumes` takes."""
    try:
        _Graph(module)
    except UnsupportedNetworkError:
        return False
    return True


class _Graph:
    """The module as operations: what is computed from what."""

    def __init__(self, module: nn.Module) -> None:
        try:
            self.traced = fx.symbolic_trace(module.eval())
        except Exception as error:
            # Control flow that depends on values, whatever that raises.
            raise UnsupportedNetworkError(f"it cannot be traced ({error})") from None
        self.modules: dict[str, nn.Module] = dict(self.traced.named_modules())
        self.nodes = [node for node in self.traced.graph.nodes if node.op != "output"]
        inputs = [node for node in self.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            raise UnsupportedNetworkError(f"it has {len(inputs)} inputs")
        self.input = inputs[0]
        (self.output,) = [n.all_input_nodes[0] for n in self.traced.graph.nodes if n.op == "output"]
        self.blocks: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
        """Convolution and norm of each activation."""
        self.joins: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
        self.doubles: list[fx.Node] = []
        for node in self.nodes:
            self._take(node)
        if self.module(self.output, nn.Conv3d) is None:
            raise UnsupportedNetworkError("it does not end in a convolution")

    def module(self, node: fx.Node, kind: type[nn.Module]) -> Any:
        """The module that a node calls, if it is of this kind."""
        found = self.modules.get(str(node.target)) if node.op == "call_module" else None
        return found if isinstance(found, kind) else None

    def _take(self, node: fx.Node) -> None:
        if node.op == "placeholder" or node is self.output:
            return
        sources = node.all_input_nodes
        if self.module(node, nn.ReLU) or self.module(node, nn.LeakyReLU):
            norm = sources[0]
            convolution = norm.all_input_nodes[0] if norm.all_input_nodes else norm
            if self.module(norm, nn.InstanceNorm3d) and self.module(convolution, nn.Conv3d):
                self.blocks[node] = (convolution, norm)
                return
        elif up := self.module(node, nn.ConvTranspose3d):
            if (up.kernel_size, up.stride, up.padding) == ((2,) * 3, (2,) * 3, (0,) * 3):
                self.doubles.append(node)
                return
        elif node.op == "call_function" and node.target in (torch.cat, torch.concat):
            if len(sources) == 2 and 1 in (*node.args[1:], node.kwargs.get("dim")):
                self.joins[node] = (sources[0], sources[1])
                return
        elif self._inner(node):
            return
        raise UnsupportedNetworkError(f"{node.name} is no layer of a 3D U-Net")

    def _inner(self, node: fx.Node) -> bool:
        """Whether a node is the convolution or the norm of a block, each read by that alone."""
        if len(node.users) != 1:
            return False
        if norm := self.module(node, nn.InstanceNorm3d):
            return bool(norm.affine and not norm.track_running_stats)
        if convolution := self.module(node, nn.Conv3d):
            (stride,) = set(convolution.stride) if len(set(convolution.stride)) == 1 else (0,)
            return (
                convolution.kernel_size == (3,) * 3
                and convolution.padding == (1,) * 3
                and stride in (1, 2)
                and convolution.groups == 1
                and convolution.dilation == (1,) * 3
            )
        return False


class _Ranges(fx.Interpreter):  # type: ignore[misc]
    """Runs windows in float32 and keeps the largest magnitude of each channel of each value.

    Nothing is cut off: what is rare in a volume, such as a tumour, is what an answer is about.
    """

    def __init__(self, graph: _Graph) -> None:
        super().__init__(graph.traced)
        norms = {norm for _, norm in graph.blocks.values()}
        self._wanted = set(graph.nodes) - {*graph.joins, *norms, graph.output}
        self._largest: dict[fx.Node, Tensor] = {}

    def see(self, window: Tensor) -> None:
        """Take a window [1, channels, D, H, W] into account."""
        with torch.inference_mode():
            self.run(window)

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, and look at what it gives."""
        value = super().run_node(n)
        if n in self._wanted:
            low, high = torch.aminmax(value[0].flatten(1), dim=1)
            found = torch.maximum(-low, high).clamp(min=SMALLEST)
            self._largest[n] = torch.maximum(found, self._largest.get(n, found))
        return value

    def limits(self, node: fx.Node) -> NDArray[np.float64]:
        """The largest magnitude of each channel, [channels]."""
        found: NDArray[np.float64] = self._largest[node].double().numpy()
        return found


class _Writer:
    """Writes the program."""

    def __init__(self, graph: _Graph, ranges: _Ranges) -> None:
        self._graph, self._ranges = graph, ranges
        self._tensors: dict[str, Stored] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        self._levels: dict[fx.Node, int] = {graph.input: 0}

    def program(self) -> VolumeProgram:
        """All operations in the module's order."""
        graph = self._graph
        self._store(graph.input, "s8")
        operations: list[Operation] = []
        for node in graph.nodes:
            if node in graph.blocks:
                operations.append(self._block(node))
            elif node in graph.doubles:
                operations.append(self._double(node))
            elif node is graph.output:
                operations.append(self._head(node))
            elif node in graph.joins:
                parts = graph.joins[node]
                self._levels[node] = self._levels[parts[1]]
                steps = np.concatenate([self._steps(f"{node.name}.{part.name}") for part in parts])
                self._tensors[node.name] = Stored(len(steps), self._levels[node], "s8")
                self._constants[f"{node.name}.steps"] = steps
        return VolumeProgram(
            graph.input.name,
            graph.output.name,
            self._tensors,
            tuple(operations),
            self._constants,
        )

    def _steps(self, name: str) -> NDArray[np.float32]:
        return self._constants[f"{name}.steps"]

    def _store(self, node: fx.Node, dtype: str, host: str | None = None, offset: int = 0) -> str:
        """Decide how a value is stored, and give the name that it has."""
        limits = self._ranges.limits(node)
        steps = limits**EVEN * limits.max() ** (1 - EVEN) / LARGEST[dtype]
        name = node.name if host is None else f"{host}.{node.name}"
        self._tensors[name] = Stored(len(steps), self._levels[node], dtype, host, offset)
        self._constants[f"{name}.steps"] = _f32(steps)
        return name

    def _hosted(self, node: fx.Node) -> list[str]:
        """Names of a value's places in the joins that it goes into."""
        found = []
        for join, parts in self._graph.joins.items():
            if node in parts:
                offset = 0 if node is parts[0] else self._channels(parts[0])
                found.append(self._store(node, "s8", join.name, offset))
        return found

    def _channels(self, node: fx.Node) -> int:
        graph = self._graph
        if node in graph.blocks:
            return int(graph.module(graph.blocks[node][0], nn.Conv3d).out_channels)
        return int(graph.module(node, nn.ConvTranspose3d).out_channels)

    def _block(self, node: fx.Node) -> Block:
        convolution, norm = self._graph.blocks[node]
        layer = self._graph.module(convolution, nn.Conv3d)
        affine = self._graph.module(norm, nn.InstanceNorm3d)
        activation = self._graph.module(node, nn.LeakyReLU)
        slope = float(activation.negative_slope) if activation else 0.0
        source = convolution.all_input_nodes[0]
        stride = int(layer.stride[0])
        self._levels[node] = self._levels[source] + (stride == 2)
        outputs = self._hosted(node)
        if any(user not in self._graph.joins for user in node.users):
            outputs.insert(0, self._store(node, "s8" if slope else "u8"))
        stored = self._ranges.limits(convolution) / LARGEST["s8"]
        if layer.bias is not None:
            # The norm takes a bias out again; it only moves what is stored out of the middle.
            bias = layer.bias.detach().abs().numpy()
            stored = stored + bias / LARGEST["s8"]
        steps = self._steps(source.name)[:, None, None, None]
        weight, own = _quantised(layer.weight.detach().numpy() * steps)
        self._constants |= {
            f"{layer_name(node)}.weight": weight,
            f"{layer_name(node)}.scales": _f32(own / stored),
            f"{layer_name(node)}.gain": _f32(affine.weight.detach().numpy()),
            f"{layer_name(node)}.shift": _f32(affine.bias.detach().numpy()),
            f"{layer_name(node)}.epsilon": _f32(affine.eps / stored.astype(np.float64) ** 2),
        }
        return Block(layer_name(node), source.name, tuple(outputs), stride, slope)

    def _double(self, node: fx.Node) -> Double:
        layer = self._graph.module(node, nn.ConvTranspose3d)
        (source,) = node.all_input_nodes
        self._levels[node] = self._levels[source] - 1
        (output,) = self._hosted(node)
        # (in, out, 2, 2, 2): each of the eight places is a layer of its own.
        weight = layer.weight.detach().numpy().transpose(2, 3, 4, 1, 0)
        weight = weight.reshape(-1, layer.in_channels) * self._steps(source.name)
        bias = np.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach().numpy()
        # Sums become steps of the output, of which each channel has its own.
        made = np.tile(self._steps(output), 8)
        weight, own = _quantised(weight)
        self._constants |= {
            f"{node.name}.weight": weight,
            f"{node.name}.scales": _f32(own / made),
            f"{node.name}.bias": _f32(np.tile(bias, 8) / made),
        }
        return Double(node.name, source.name, output)

    def _head(self, node: fx.Node) -> Head:
        layer = self._graph.module(node, nn.Conv3d)
        (source,) = node.all_input_nodes
        self._levels[node] = 0
        self._tensors[node.name] = Stored(layer.out_channels, 0, "f32")
        weight = layer.weight.detach().numpy().reshape(layer.out_channels, -1)
        weight, own = _quantised(weight * self._steps(source.name))
        bias = np.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach().numpy()
        self._constants |= {
            f"{node.name}.weight": weight,
            f"{node.name}.scales": _f32(own),
            f"{node.name}.bias": _f32(bias),
        }
        return Head(node.name, source.name, node.name)


def layer_name(node: fx.Node) -> str:
    """The name of a block: its activation's."""
    return str(node.name)


def _quantised(weight: Array) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Weights [out, ...] as int8, and the scale of each output channel."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1).astype(np.float64)
    scales = np.maximum(largest, SMALLEST) / LARGEST["s8"]
    shape = (-1, *[1] * (weight.ndim - 1))
    return np.rint(weight / scales.reshape(shape)).astype(np.int8), scales


def _f32(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
