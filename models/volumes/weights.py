"""Reads the 3D U-Nets' weights: checkpoints, TorchScript, safetensors, ONNX (imports torch)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from models.errors import WeightsError
from models.volumes.architecture import Architecture
from models.volumes.widths import Widths
from models.weights.kind import Kind, kind_of
from models.weights.load import fill
from models.weights.state import read_state
from models.weights.unpickle import load

BEST = "best_model_state_dict"
"""Where KiTS19's checkpoint keeps the weights that the reference takes."""


def load_network(architecture: Architecture, path: Path) -> nn.Module:
    """The network with the weights of a file, in float32. Raises WeightsError.

    Its widths are those of the weights. Nothing of the file is executed.
    """
    if kind_of(path) is Kind.ONNX:
        from models.volumes.onnx import load_onnx

        return load_onnx(architecture, path)
    state = _state(architecture, path)
    network = architecture.make(_widths(architecture, path, state)).eval()
    fill(network, state, path)
    return network


def widths_in(architecture: Architecture, path: Path) -> Widths:
    """The widths of the network that a file is for. Raises WeightsError."""
    if kind_of(path) is Kind.ONNX:
        from models.volumes.onnx import widths_of

        return widths_of(path)
    return _widths(architecture, path, _state(architecture, path))


def _state(architecture: Architecture, path: Path) -> dict[str, Tensor]:
    kind = kind_of(path)
    if kind is Kind.TORCH and (best := _best(path)):
        return best
    return read_state(path, kind, architecture.anchors)


def _best(path: Path) -> dict[str, Tensor]:
    """The best weights of a checkpoint that holds others beside them; none of any other file."""
    try:
        held = load(path)
    except WeightsError:
        return {}  # TorchScript, or what read_state has the words for
    found = held.get(BEST) if isinstance(held, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()
            if isinstance(tensor, Tensor)}  # fmt: skip


def _widths(architecture: Architecture, path: Path, state: Mapping[str, Tensor]) -> Widths:
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    try:
        widths = architecture.widths(shapes)
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{path}: not {architecture.maker} (no {error})") from None
    if len(widths.levels) < 2 or min(widths.levels) < 1:
        raise WeightsError(f"{path}: not {architecture.maker}: has {len(widths.levels)} level(s)")
    return widths
