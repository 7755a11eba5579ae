"""TorchScript archives: the tensors of a network, without the code that stands beside them.

An archive is a zip file: `data.pkl`, a pickle of the network's objects, refers to tensors in
`data/`; `code/` is what torch.jit.load would run, and nothing here looks at it. The pickle may name
classes of the network's own code and a few functions that rebuild tensors and lists; stand-ins take
their place, and any other name ends the reading.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from models.errors import WeightsError

OWN = "__torch__"
"""Module of the classes that are compiled from the network's code."""
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
DEEPEST = 100


class _Object:
    """Where an object of the network's code would be: it has its attributes."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def is_script(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def read_script(path: Path) -> dict[str, torch.Tensor]:
    """The network's tensors by the names that its `state_dict()` would give them.

    Raises WeightsError where the archive is damaged or asks for anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (pickled,) = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            folder = pickled.removesuffix("data.pkl")
            network = _Tensors(archive, folder, archive.read(pickled)).load()
            return dict(_named(network))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:
        # Fed arbitrary bytes, the unpickler ends in whatever its instructions run into.
        raise WeightsError(f"{path}: a damaged TorchScript archive ({error})") from None


class _Tensors(pickle.Unpickler):
    """Reads data.pkl; a tensor's numbers are read from the archive when it is rebuilt."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._archive, self._folder = archive, folder
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of the pickle; raises WeightsError for what is not expected."""
        if module == OWN or module.startswith(f"{OWN}."):
            return _Object
        if module == "torch" and name in STORAGES:
            return name
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
            ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data,
            **{("torch.jit._pickle", listed): lambda data: data for listed in LISTS},
            ("torch.jit._pickle", "restore_type_tag"): lambda data, *rest: data,
        }
        if (module, name) not in known:
            raise WeightsError(f"names {module}.{name}, which is no tensor: do not trust this file")
        return known[module, name]

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """The numbers of a storage, as a flat tensor."""
        kind, storage, key, _, count = pid
        if kind != "storage" or storage not in STORAGES or not str(key).isdigit():
            raise WeightsError(f"refers to {kind!r} {key!r}, which is no tensor's storage")
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            numbers = torch.frombuffer(data, dtype=STORAGES[storage])
            if len(numbers) < count:
                raise WeightsError(f"storage {key} has {len(numbers)} of {count} numbers")
            self._storages[key] = numbers
        return self._storages[key]


def _rebuilt(numbers: torch.Tensor, offset: int, shape: Any, strides: Any, *rest: Any) -> Any:
    shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    beyond = offset < 0 or min((*shape, *strides), default=0) < 0 or last >= len(numbers)
    if beyond and math.prod(shape):
        raise WeightsError(f"a tensor {list(shape)} reaches out of its storage")
    return torch.as_strided(numbers, shape, strides, offset)


def _named(network: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    if not isinstance(network, _Object) or depth > DEEPEST:
        raise WeightsError("holds no network")
    for name, value in vars(network).items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Object):
            yield from _named(value, f"{prefix}{name}.", depth + 1)
