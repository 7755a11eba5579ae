"""ONNX files of our networks in the style of TensorFlow's converter (and of PyTorch's exporter).

The reference for MLPerf's files is what its conversion makes: images n x channel x height x width,
explicit Pad nodes before strided convolutions, the projection of a block before its main branch,
batch norms folded or not, a matrix product as resnet50's head and ArgMax and Softmax as outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from models.mobilenet.network import MobileNet
from models.resnet50.network import Bottleneck, ResNet50


class Writer:
    """Adds nodes one by one; each call returns the name of the value it makes."""

    def __init__(self, folded: bool = True, epsilon: float = 1e-3) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.folded = folded
        self.epsilon = epsilon

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"const_{len(self.tensors)}"
        array = np.ascontiguousarray(np.asarray(value, dtype))
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}__{len(self.nodes)}:0"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def convolution(
        self, x: str, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, **given: Any
    ) -> str:
        """A convolution with its batch norm: folded into a bias, or as a node behind it."""
        attributes = {
            "strides": list(conv.stride),
            "group": conv.groups,
            "kernel_shape": list(conv.kernel_size),
            "pads": [*conv.padding, *conv.padding],
            **given,
        }
        weight = conv.weight.detach().double()
        if norm is None:
            assert conv.bias is not None
            bias = self.constant(conv.bias.detach())
            return self.node("Conv", x, self.constant(weight), bias, **attributes)
        scale = norm.weight.detach().double()
        mean, variance = norm.running_mean.double(), norm.running_var.double()
        if self.folded:
            scale = scale / torch.sqrt(variance + norm.eps)
            bias = self.constant(norm.bias.detach() - mean * scale)
            folded = self.constant(weight * scale[:, None, None, None])
            return self.node("Conv", x, folded, bias, **attributes)
        y = self.node("Conv", x, self.constant(weight), **attributes)
        own = [scale, norm.bias.detach(), mean, variance + norm.eps - self.epsilon]
        names = [self.constant(v) for v in own]
        return self.node("BatchNormalization", y, *names, epsilon=self.epsilon)

    def save(self, path: Path, outputs: dict[str, Any], opset: int = 11, batch: Any = "n") -> None:
        """Write the model; `outputs` gives each output's onnx type, its image input is `images`."""
        images = helper.make_tensor_value_info(
            "images", onnx.TensorProto.FLOAT, [batch, 3, 224, 224]
        )
        made = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
        graph = helper.make_graph(self.nodes, "tf", [images], made, self.tensors)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6
        )
        onnx.save(model, str(path))


def seeded(network: nn.Module) -> Any:
    """Fill a network, batch norms too, with numbers that keep activations in range."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.1, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 0.8, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.7, 1.5, generator=generator)
    return network.eval()


def write_resnet50(
    path: Path, network: ResNet50, folded: bool = True, tf: bool = True, v1: bool = False
) -> None:
    """`tf`: matrix product, ArgMax and Softmax; else as PyTorch exports. `v1`: strides of v1."""
    w = Writer(folded)
    if tf:
        x = w.node("Pad", "images", w.constant([0, 0, 3, 3, 0, 0, 3, 3], np.int64))
        x = w.convolution(x, network.conv1, network.bn1, pads=[0, 0, 0, 0])
        x = w.node("Relu", x)
        x = w.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    else:
        x = w.node("Relu", w.convolution("images", network.conv1, network.bn1))
        x = w.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            x = _block(w, x, block, tf, v1)
    weight, bias = network.fc.weight.detach(), network.fc.bias.detach()
    if tf:
        x = w.node("ReduceMean", x, axes=[2, 3], keepdims=1)
        x = w.node("Squeeze", x, axes=[2, 3])
        x = w.node("MatMul", x, w.constant(weight.T))
        x = w.node("Identity", w.node("Add", x, w.constant(bias)))
        best = w.node("ArgMax", x, axis=1, keepdims=0)
        share = w.node("Softmax", x, axis=1)
        outputs = {best: onnx.TensorProto.INT64, share: onnx.TensorProto.FLOAT}
    else:
        x = w.node("Flatten", w.node("GlobalAveragePool", x), axis=1)
        x = w.node("Gemm", x, w.constant(weight), w.constant(bias), transB=1)
        outputs = {x: onnx.TensorProto.FLOAT}
    w.save(path, outputs)


def _block(w: Writer, x: str, block: Bottleneck, tf: bool, v1: bool) -> str:
    shortcut = x
    if block.downsample is not None:
        shortcut = w.convolution(x, block.downsample[0], block.downsample[1])
    first, second = ({"strides": list(block.conv2.stride)}, {"strides": [1, 1]}) if v1 else ({}, {})
    y = w.node("Relu", w.convolution(x, block.conv1, block.bn1, **first))
    if tf and block.conv2.stride == (2, 2) and not v1:
        y = w.node("Pad", y, w.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        second = {"pads": [0, 0, 0, 0]}
    y = w.node("Relu", w.convolution(y, block.conv2, block.bn2, **second))
    y = w.convolution(y, block.conv3, block.bn3)
    return w.node("Relu", w.node("Add", *((shortcut, y) if tf else (y, shortcut))))


def write_mobilenet(
    path: Path, network: MobileNet, folded: bool = True, ceiling: float = 6
) -> None:
    """A batch of 1, ReLU6 as Clip; not folded: a BatchNormalization behind each convolution."""
    w = Writer()
    x = "images"
    for number, conv in enumerate(network.features):
        assert isinstance(conv, nn.Conv2d)
        pads = {"auto_pad": "SAME_UPPER", "pads": None} if conv.kernel_size == (3, 3) else {}
        x = w.convolution(x, conv, None, **pads) if folded else _normed(w, x, conv, number, pads)
        x = w.node("Clip", x, w.constant(0.0), w.constant(ceiling))
    x = w.node("ReduceMean", x, axes=[2, 3], keepdims=1)
    head = network.classifier
    x = w.node("Conv", x, w.constant(head.weight.detach()))
    x = w.node("Add", x, w.constant(head.bias.detach()[None, :, None, None]))
    x = w.node("Transpose", x, perm=[0, 2, 3, 1])
    x = w.node("Squeeze", x, axes=[1, 2])
    x = w.node("Softmax", w.node("Reshape", x, w.constant([-1, 1001], np.int64)), axis=1)
    x = w.node("Reshape", x, w.constant([1, 1001], np.int64))
    w.save(path, {x: onnx.TensorProto.FLOAT}, batch=1)


def _normed(w: Writer, x: str, conv: nn.Conv2d, number: int, pads: dict[str, Any]) -> str:
    """The same convolution and bias, written as a convolution without bias and a batch norm."""
    assert conv.bias is not None
    rng = np.random.default_rng(number)
    channels = conv.out_channels
    gain, variance = rng.uniform(0.5, 2, channels), rng.uniform(0.5, 2, channels)
    mean = rng.normal(size=channels)
    scale = gain / np.sqrt(variance + w.epsilon)
    weight = conv.weight.detach().double().numpy() / scale[:, None, None, None]
    beta = conv.bias.detach().double().numpy() + mean * scale
    # TensorFlow's layout of constants, turned by nodes that the converter left.
    stored = w.constant(weight.transpose(2, 3, 1, 0))
    turned = w.node("Transpose", stored, perm=[3, 2, 0, 1])
    attributes = {"strides": list(conv.stride), "group": conv.groups, **pads}
    y = w.node("Conv", x, turned, **attributes)
    constants = [w.constant(v) for v in (gain, beta, mean, variance)]
    return w.node("BatchNormalization", y, *constants, epsilon=w.epsilon)
