"""Weights files: PyTorch state dictionaries, read without executing anything they hold."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from models.errors import WeightsError


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a state dictionary by name. Raises WeightsError."""
    try:
        with warnings.catch_warnings():
            # Of a file of another kind, torch warns before it refuses it.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:
        # Fed arbitrary bytes, torch's unpickler ends in whatever its instructions run into:
        # UnpicklingError and RuntimeError, but also IndexError, KeyError, struct.error, ...
        raise WeightsError(
            f"{path}: not a PyTorch state dictionary (expected a file of tensors by name, "
            "as torch.save(network.state_dict(), file) writes it)"
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise WeightsError(f"{path}: holds {type(state).__name__}, expected tensors by name")
    return state


def load_into(network: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Fill the network with the tensors of a file, converted to the network's types.

    `num_batches_tracked` has no part in inference and may be absent or not. Raises WeightsError
    that names up to three missing, unexpected or wrongly shaped tensors.
    """
    own = network.state_dict()
    given = read_state(path)
    differences = {
        "missing": [k for k in own if k not in given and not _is_counter(k)],
        "unexpected": [k for k in given if k not in own and not _is_counter(k)],
        "wrong shape": [
            f"{key} {list(given[key].shape)} for {list(tensor.shape)}"
            for key, tensor in own.items()
            if key in given and given[key].shape != tensor.shape
        ],
    }
    told = [f"{what}: {_first_three(keys)}" for what, keys in differences.items() if keys]
    if told:
        raise WeightsError(f"{path}: does not fit {type(network).__name__} ({'; '.join(told)})")
    broken = [k for k, v in given.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: not finite: {_first_three(broken)}")
    network.load_state_dict(
        {key: given.get(key, tensor).to(tensor.dtype) for key, tensor in own.items()}
    )
    return network.eval()


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _first_three(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
