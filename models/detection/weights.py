"""Published weights of the detectors, read into our networks (imports torch)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.detection.networks.ssd_mobilenet import SSDMobileNetV1
from models.weights.kind import Kind, kind_of
from models.weights.load import fill
from models.weights.state import read_state

if TYPE_CHECKING:
    from models.detection.detector import Detector

NORM = "/BatchNorm."
"""In names of SSD-MobileNet-v1's published weights."""


def load_weights(task: Detector, path: Path) -> nn.Module:
    """The task's network with the weights of a file, in evaluation mode.

    A TorchScript archive, a checkpoint or a state dictionary, safetensors, or ONNX as PyTorch
    exports it. Nothing in the file is executed. Raises WeightsError.
    """
    network = task.network().eval()
    kind = kind_of(path)
    if kind is Kind.ONNX:
        from models.detection.onnx import fill_from_onnx

        fill_from_onnx(task, network, path)
        return network
    own = list(network.state_dict())
    if isinstance(network, SSDMobileNetV1):
        state = read_state(path, kind, _published_names(own))
        if any(NORM in name for name in state):
            state = folded(state)
    else:
        state = read_state(path, kind, own)
    fill(network, state, path)
    return network


def belongs_to(task: Detector, path: Path) -> bool:
    """Whether a file has the tensors of the task's network, by name; in ONNX by their shapes.

    Raises WeightsError where it cannot be read.
    """
    with torch.device("meta"):
        own = task.network().state_dict()
    kind = kind_of(path)
    if kind is Kind.ONNX:
        from models.detection.onnx import kernel_shapes

        return kernel_shapes(path) >= {tuple(v.shape) for v in own.values() if v.dim() == 4}
    return set(own) <= set(read_state(path, kind, own))


def _published_names(own: list[str]) -> list[str]:
    """SSD-MobileNet-v1's names, of its network's: biases of the backbone stand in its norms."""
    names = []
    for name in own:
        layer, _, what = name.rpartition(".")
        if layer.startswith("backbone.") and what == "bias":
            names.append(f"{layer}{NORM}bias")
            if layer.endswith(".depthwise"):
                names.append(f"{layer}{NORM}scale")
        else:
            names.append(name)
    return names


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SSD-MobileNet-v1's state with the scales of its norms taken into the weights."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        layer, _, what = name.partition(NORM)
        if what == "bias":
            result[f"{layer}.bias"] = value
        elif not what:
            scale = state.get(f"{name.removesuffix('.weight')}{NORM}scale", torch.ones(()))
            wide = scale.view(-1, *[1] * (value.dim() - 1)) if scale.dim() else scale
            result[name] = value * wide
    return result
