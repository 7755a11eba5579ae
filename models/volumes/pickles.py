"""Pickles of MLPerf's preprocessing: arrays, numbers and names, and nothing that could be run.

A pickle is a program. The names it may use are NumPy's for arrays and their types, and collections'
ordered dictionary; stand-ins of this module take their place, so that nothing is imported or called
for a file, and an array is made of bytes that the file has.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import InputError
from base.files import why_not_regular
from models.task import Array

NUMBERS = "biuf"
"""Kinds of array elements, by NumPy's letters."""
LARGEST = 8
"""Bytes of an element."""


def read_pickle(path: Path) -> Any:
    """What a pickle holds: lists, dictionaries, text, numbers, arrays (which are read-only).

    Raises InputError where it is damaged or asks for anything else.
    """
    if trouble := why_not_regular(path):
        raise InputError(f"{path}: {trouble}")
    try:
        with path.open("rb") as file:
            return _plain(_Arrays(file).load())
    except _ForeignError as error:
        raise InputError(f"{path}: {error}: not MLPerf's preprocessing; do not trust it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:
        # Fed arbitrary bytes, the unpickler ends in whatever its instructions run into.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: a damaged pickle ({reason})") from None


class _ForeignError(Exception):
    """The pickle names what is no array."""


class _Type:
    """Where a numpy.dtype would be."""

    def __init__(self, spelled: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(spelled, str) or len(spelled) > 2:
            raise _ForeignError(f"an array of {spelled!r}")
        self._spelled, self._order = spelled, "="

    def __setstate__(self, state: Any) -> None:
        self._order = state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type; raises _ForeignError for all but numbers."""
        try:
            found = np.dtype(self._spelled)
            if self._order == ">":
                found = found.newbyteorder(">")
        except TypeError:
            raise _ForeignError(f"an array of {self._spelled!r}") from None
        if found.kind not in NUMBERS or found.itemsize > LARGEST:
            raise _ForeignError(f"an array of {self._spelled!r}")
        return found


class _Array:
    """Where a numpy.ndarray would be, between its making and its bytes."""

    def __init__(self) -> None:
        self.array: Array | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, data = state
        if not isinstance(kind, _Type) or not isinstance(data, (bytes, bytearray)):
            raise _ForeignError("an array of objects")
        shape = tuple(map(int, shape))
        if min(shape, default=0) < 0 or math.prod(shape) * kind.dtype.itemsize != len(data):
            raise ValueError(f"an array {list(shape)} of {len(data):,} bytes")
        order = "F" if columns_first else "C"
        # A view of the pickle's own bytes: the largest volumes are there once.
        self.array = np.frombuffer(data, kind.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _rebuilt(kind: Any, shape: Any, spelled: Any) -> _Array:
    """numpy's `_reconstruct`: an array without elements, to be filled."""
    return _Array()


def _scalar(kind: Any, data: bytes) -> Any:
    """numpy's `scalar`, as a number of Python's."""
    if not isinstance(kind, _Type) or not isinstance(data, bytes):
        raise _ForeignError("a scalar that is no number")
    (value,) = np.frombuffer(data, kind.dtype)
    return value.item()


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """numpy's `_frombuffer`: an array with its bytes, as the newest protocol writes it."""
    found = _Array()
    found.__setstate__((1, shape, kind, order == "F", data))
    return found


def _encoded(text: str, encoding: str) -> bytes:
    """Codecs' `encode`, which bytes pass through in old protocols."""
    if encoding != "latin1":
        raise _ForeignError(f"text in {encoding!r}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): lambda: b"",  # how old protocols write none
    ("collections", "OrderedDict"): OrderedDict,
    # NumPy 2 moved them.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _rebuilt for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of the pickle."""
        if (module, name) not in _KNOWN:
            raise _ForeignError(f"names {module}.{name}")
        return _KNOWN[module, name]


def _plain(value: Any) -> Any:
    """The value with arrays in place of their stand-ins."""
    if isinstance(value, _Array):
        if value.array is None:
            raise ValueError("an array without elements")
        return value.array
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, _Type):
        raise _ForeignError("a type")
    return value
