"""State dictionaries: tensors by name, in PyTorch's format or as safetensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.errors import WeightsError
from models.packages import installing_extra
from models.weights.kind import Kind
from models.weights.script import is_script, read_script
from models.weights.unpickle import StandIn, load, whole_network

WRAPPERS = (
    *("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module"),
    *("weights", "params"),
)
"""Where checkpoints of training scripts keep the network's state beside other things, such as a
moving average of it."""
COMPILED = "_orig_mod"
"""Put into names by torch.compile, wherever a part was compiled."""
PREFIXES = ("module", "model")
"""Put before all names by DataParallel and its like, and by scripts that hold a network so."""
COUNTERS = ("num_batches_tracked", "n_averaged")
"""Ends of names of what has no part in inference."""

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Found:
    """A state in which the whole network is: below these keys of the file, behind this prefix."""

    at: tuple[str, ...]
    prefix: str
    state: State

    @property
    def rank(self) -> tuple[int, bool]:
        """Less for the network itself than for a moving average or a teacher of it."""
        place = (
            WRAPPERS.index(self.at[-1]) if self.at and self.at[-1] in WRAPPERS else len(WRAPPERS)
        )
        usual = all(part in PREFIXES for part in self.prefix.split(".") if part)
        return place if self.at else 0, not usual

    def __str__(self) -> str:
        """Where it is, for a person."""
        return " ".join([*self.at, *([f"{self.prefix}*"] if self.prefix else [])])


def read_state(path: Path, kind: Kind, names: Collection[str]) -> State:
    """Return the tensors of a file by the network's `names` for them. Raises WeightsError.

    Prefixes that wrappers put in front of the names are removed, other tensors left out. A
    file in which the network's names are not all there gives its tensors as they are called.
    """
    states = {(): _safetensors(path)} if kind is Kind.SAFETENSORS else dict(_torch(path))
    states = {at: _without_compiled(state) for at, state in states.items()}
    found = [
        _Found(at, prefix, state)
        for at, state in states.items()
        for prefix in _prefixes(state, names)
    ]
    if not found:
        named = [at for wrapper in WRAPPERS for at in states if at and at[-1] == wrapper]
        largest = max(states, key=lambda at: len(states[at]))
        return _without_prefix(states[(*named, largest)[0]])
    found.sort(key=lambda one: one.rank)
    if len(found) > 1 and found[0].rank == found[1].rank:
        raise WeightsError(
            f"{path}: holds the network {len(found)} times ({found[0]}, {found[1]}): save the one "
            "that is meant by itself"
        )
    best = found[0]
    return {
        name.removeprefix(best.prefix): tensor
        for name, tensor in best.state.items()
        if name.startswith(best.prefix)
    }


def is_counter(name: str) -> bool:
    """Whether a tensor counts steps of training."""
    return name.endswith(COUNTERS)


def _without_compiled(state: State) -> State:
    return {
        ".".join(part for part in name.split(".") if part != COMPILED): tensor
        for name, tensor in state.items()
    }


def _prefixes(state: State, names: Collection[str]) -> list[str]:
    """Return the prefixes behind which all of the network's names are."""
    needed = [name for name in names if not is_counter(name)]
    first = needed[0]
    prefixes = [n.removesuffix(first) for n in state if f".{n}".endswith(f".{first}")]
    return [prefix for prefix in prefixes if all(prefix + name in state for name in needed)]


def _without_prefix(state: State) -> State:
    for prefix in PREFIXES:
        if all(name.startswith(f"{prefix}.") or is_counter(name) for name in state):
            shorter = {name.removeprefix(f"{prefix}."): tensor for name, tensor in state.items()}
            return _without_prefix(shorter) if set(shorter) != set(state) else state
    return state


def _torch(path: Path) -> Iterable[tuple[tuple[str, ...], State]]:
    if is_script(path):
        return [((), read_script(path))]
    held = load(path)
    if isinstance(held, StandIn) and held.is_network:
        raise whole_network(path, held, None)
    if found := list(_states(held)):
        return found
    for key, value in held.items() if isinstance(held, Mapping) else ():
        if isinstance(value, StandIn) and value.is_network:
            raise whole_network(path, value, str(key))
    raise WeightsError(f"{path}: holds {_described(held)}, expected tensors by name")


def _states(held: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], State]]:
    """Yield every dictionary with tensors by name, inner ones first, with the keys on the way.

    A script may keep tensors of its own beside the network's state.
    """
    if not isinstance(held, Mapping):
        return
    for key, value in held.items():
        yield from _states(value, (*at, str(key)))
    tensors = {k: v for k, v in held.items() if isinstance(k, str) and torch.is_tensor(v)}
    if tensors:
        yield at, tensors


def _safetensors(path: Path) -> State:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise WeightsError(
            f"{path}: reading it needs safetensors: {installing_extra('safetensors')}"
        ) from None
    try:
        state: State = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from None
    return state


def _described(held: Any) -> str:
    if isinstance(held, StandIn):
        return held.origin
    if not isinstance(held, Mapping):
        return type(held).__name__
    keys = [str(key) for key in held]
    return "a dictionary of " + (", ".join(keys[:3]) or "nothing")
