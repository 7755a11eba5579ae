"""PyTorch files of training scripts: tensors beside objects of any kind, none of which is created.

torch.load's safe mode reads tensors and plain Python and refuses the rest. Here, what it refuses
is replaced by an empty stand-in, so that a checkpoint with the script's options, schedulers or
paths in it gives its tensors, and nothing of the file is imported or called.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from models.errors import WeightsError

MOST = 500
"""Names of objects in one file; no script has so many."""
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files began before torch wrote zip archives."""
UNSAFE = "Weights only load failed"
"""torch's error for a file that is not safe as a whole."""
REFUSED = re.compile(r"GLOBAL (\S+) was not an allowed global")
"""torch's error for an object that it does not know."""
BLOCKED = re.compile(r"GLOBAL (\S+) whose module \S+ is blocked")
"""torch's error for an object that it never takes."""
FILLED = re.compile(r"Can only (append|extend|SETITEM).* but got <class '.*\.stand_in_(\d+)'>")
"""torch's error for an object that is filled like a list or a dictionary and is neither."""


class StandIn:
    """Where an object of the file would be: takes what it is given and does nothing."""

    origin = ""
    """The object's class, with its module."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Keep the attributes, which tell a network from other objects."""
        if isinstance(state, dict):
            self.__dict__.update(state)

    @property
    def is_network(self) -> bool:
        """Whether the object is a torch.nn.Module."""
        return {"_modules", "_parameters"} <= set(self.__dict__)


class _Entries(StandIn):
    """The same for an object that is filled like a dictionary."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return OrderedDict()


class _Items(StandIn):
    """The same for an object that is filled like a list."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return []


def load(path: Path) -> Any:
    """Return what a PyTorch file holds, with stand-ins for all that is no tensor or plain Python.

    Raises WeightsError where it cannot be read so, with the line that extracts the weights where
    one would.
    """
    kinds: dict[str, type[StandIn]] = {}
    while True:
        try:
            return _load(path, kinds)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
        except Exception as error:
            # Fed arbitrary bytes, torch's unpickler ends in whatever its instructions run into:
            # UnpicklingError and RuntimeError, but also IndexError, KeyError, struct.error, ...
            if not _replaced(path, error, kinds):
                raise _unreadable(path, error, list(kinds)) from None


def whole_network(path: Path, found: StandIn, key: str | None) -> WeightsError:
    """Return the error for a file that holds a network itself, under a key or alone."""
    where = "" if key is None else f"[{key!r}]"
    weights = f"torch.load({str(path)!r}, weights_only=False){where}.state_dict()"
    return WeightsError(
        f"{path}: holds a network itself ({found.origin}), not its weights; where its code can be "
        f"imported, {_extract(weights)}"
    )


def _load(path: Path, kinds: dict[str, type[StandIn]]) -> Any:
    allowed: list[Any] = [
        (type(f"stand_in_{number}", (kind,), {"origin": name}), name)
        for number, (name, kind) in enumerate(kinds.items())
    ]
    with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        # Of a file of another kind, torch warns before it refuses it.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _replaced(path: Path, error: Exception, kinds: dict[str, type[StandIn]]) -> bool:
    """Choose a stand-in for the object that was refused; False where none helps."""
    if blocked := BLOCKED.search(str(error)):
        raise WeightsError(f"{path}: calls {blocked[1]} when it is loaded: do not trust this file")
    if refused := REFUSED.search(str(error)):
        # Of Python's own, torch leaves out the module.
        name = refused[1] if "." in refused[1] else f"builtins.{refused[1]}"
        kind: type[StandIn] = StandIn
    elif filled := FILLED.search(str(error)):
        name = list(kinds)[int(filled[2])]
        kind = _Entries if filled[1] == "SETITEM" else _Items
    else:
        return False
    if kinds.get(name) is kind or len(kinds) == MOST:
        return False
    kinds[name] = kind
    return True


def _unreadable(path: Path, error: Exception, names: list[str]) -> WeightsError:
    if not _is_torch(path) or UNSAFE not in str(error):
        return WeightsError(
            f"{path}: not a PyTorch state dictionary, nor ONNX or safetensors (expected tensors "
            "by name, as torch.save(network.state_dict(), file) writes them)"
        )
    what = f"holds {', '.join(names[:3])}" if names else "is written in another way than torch's"
    found = f"c = torch.load({str(path)!r}, weights_only=False); "
    weights = "c.get('state_dict') or c.get('model') or c"
    return WeightsError(
        f"{path}: {what}, and cannot be read without executing it; if you trust it, "
        f"{_extract(weights, found)}"
    )


def _extract(weights: str, before: str = "") -> str:
    return (
        f"""extract them: python -c "import torch; {before}torch.save({weights}, 'weights.pth')\""""
    )


def _is_torch(path: Path) -> bool:
    with path.open("rb") as file:
        return zipfile.is_zipfile(file) or (file.seek(0) == 0 and file.read(15) == LEGACY)
