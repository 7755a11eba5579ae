"""State dictionaries: tensors by name, in PyTorch's format or as safetensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.errors import WeightsError
from models.weights.kind import Kind

WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Where checkpoints of training scripts keep the network's state beside other things."""
PARALLEL = "module."
"""Put before every name by torch.nn.DataParallel."""


def read_state(path: Path, kind: Kind) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by the network's names for them. Raises WeightsError."""
    return _safetensors(path) if kind is Kind.SAFETENSORS else _torch(path)


def _torch(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            # Of a file of another kind, torch warns before it refuses it.
            warnings.simplefilter("ignore")
            held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:
        # Fed arbitrary bytes, torch's unpickler ends in whatever its instructions run into:
        # UnpicklingError and RuntimeError, but also IndexError, KeyError, struct.error, ...
        raise WeightsError(
            f"{path}: not a PyTorch state dictionary, nor ONNX or safetensors (expected tensors "
            "by name, as torch.save(network.state_dict(), file) writes them)"
        ) from None
    state = _unwrapped(held)
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise WeightsError(f"{path}: holds {_described(held)}, expected tensors by name")
    return _without_prefix(dict(state))


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise WeightsError(
            f"{path}: reading it needs safetensors: pip install 'loadrun[safetensors]'"
        ) from None
    try:
        return _without_prefix(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from None


def _unwrapped(held: Any) -> Any:
    for name in WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            return _unwrapped(held[name])
    return held


def _without_prefix(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if state and all(name.startswith(PARALLEL) for name in state):
        return {name.removeprefix(PARALLEL): tensor for name, tensor in state.items()}
    return state


def _described(held: Any) -> str:
    if not isinstance(held, Mapping):
        return type(held).__name__
    keys = [str(key) for key in held]
    return "a dictionary of " + (", ".join(keys[:3]) or "nothing")
