"""JSON objects as dataclasses: read with every value checked, written again in the same form.

The fields of such a dataclass are numbers, texts, enumerations of texts, None, other such
dataclasses, or lists, tuples and mappings by text of these. Three kinds of fields stand otherwise
in the object than by their own name::

    settings: Settings = field(metadata=FLAT)                   # its keys stand among the others
    more: Mapping[str, Any] = field(metadata=REST)              # all keys that are no field
    accuracy: float | None = field(default=None, metadata=LATER)        # absent until it is known
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

from base.errors import quoted

T = TypeVar("T")
FLAT = {"flat": True}
"""Of a field that holds a dataclass whose keys stand among those of the object around it.

With a default, from which its own fields have theirs, it is written where it differs from that.
"""
REST = {"rest": True}
"""Of a field for all keys that are none of the dataclass, nor of the one that it is flat in."""
LATER = {"later": True}
"""Of a field that is None, and not written, until its value is known."""
_SEQUENCES, _MAPPINGS = (list, tuple), (Mapping, dict)


class ShapeError(ValueError):
    """A value is not of the shape that was expected; the message names its key."""


def read(form: type[T], values: object, where: str = "", *, strict: bool = False) -> T:
    """An instance of the dataclass `form` from JSON values; raises ShapeError.

    `where` names the object as a whole. Keys that are no field are passed over, and null stands for
    the default where the field itself does not take it; neither where this is `strict`.
    """
    if not isinstance(values, dict):
        raise ShapeError(f"{where or 'the whole'} must be an object")
    return cast(T, _object(form, values, "", strict))


def written(value: Any) -> Any:
    """What `read` reads, as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return _written_object(value)
    if isinstance(value, Mapping):
        return {key: written(found) for key, found in value.items()}
    if isinstance(value, _SEQUENCES):
        return [written(found) for found in value]
    return value.value if isinstance(value, Enum) else value


def _written_object(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in fields(value):
        held = getattr(value, item.name)
        if item.metadata == FLAT:
            if item.default_factory is MISSING or held != item.default_factory():
                found |= written(held)
        elif item.metadata == REST:
            found |= written(held)
        elif held is not None or item.metadata != LATER:
            found[item.name] = written(held)
    return found


@dataclass(frozen=True)
class _Part:
    """A field and its type; `keys` are those that it takes of the object, None for the rest."""

    item: Field[Any]
    hint: Any
    keys: frozenset[str] | None

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def optional(self) -> bool:
        item = self.item
        return item.default is not MISSING or item.default_factory is not MISSING


@cache
def _parts(form: type) -> tuple[_Part, ...]:
    hints = typing.get_type_hints(form)
    found = []
    for item in fields(form):
        keys: frozenset[str] | None = frozenset((item.name,))
        if item.metadata == FLAT:
            inner = [part.keys for part in _parts(hints[item.name])]
            named = frozenset().union(*(each for each in inner if each is not None))
            keys = None if None in inner else named
        elif item.metadata == REST:
            keys = None
        found.append(_Part(item, hints[item.name], keys))
    return tuple(found)


@cache
def _own_keys(form: type) -> frozenset[str]:
    """All keys that fields of a dataclass have, and of those that are flat in it."""
    found: set[str] = set()
    for part in _parts(form):
        if part.item.metadata == FLAT:
            found |= _own_keys(part.hint)
        elif part.item.metadata != REST:
            found.add(part.name)
    return frozenset(found)


def _object(form: type, values: Mapping[str, Any], prefix: str, strict: bool) -> Any:
    parts, own = _parts(form), _own_keys(form)
    if strict:
        _refuse_unknown(values, own, prefix)
    left = {key: value for key, value in values.items() if key not in own}
    taken: dict[str, Any] = {}
    for part in parts:
        if part.item.metadata == FLAT:
            inner = {key: values[key] for key in _own_keys(part.hint) if key in values}
            inner |= left if part.keys is None else {}
            taken[part.name] = _object(part.hint, inner, prefix, strict)
        elif part.item.metadata == REST:
            taken[part.name] = left
        elif part.name in values:
            value = values[part.name]
            if value is None and part.optional and not strict and not _takes_none(part.hint):
                continue
            taken[part.name] = _value(value, part.hint, prefix + part.name, strict)
    for part in parts:
        if part.name not in taken and not part.optional:
            raise ShapeError(f"missing key {prefix + part.name!r}")
    return form(**taken)


def _refuse_unknown(values: Mapping[str, Any], own: frozenset[str], prefix: str) -> None:
    for key in values:
        if key not in own:
            near = get_close_matches(key, own, 1, 0.4)
            hint = f" (nearest: {near[0]})" if near else ""
            raise ShapeError(f"unknown key {quoted(prefix + key)}{hint}")


def _value(value: Any, hint: Any, name: str, strict: bool) -> Any:
    if value is None and _takes_none(hint):
        return None
    one = _without_none(hint)
    origin, inner = typing.get_origin(one), typing.get_args(one)
    if is_dataclass(one):
        if not isinstance(value, dict):
            raise ShapeError(f"{name} must be an object")
        return _object(cast(type, one), value, f"{name}.", strict)
    if origin in _SEQUENCES and _holds_objects(inner[0]) and isinstance(value, list):
        found = [_value(each, inner[0], f"{name}[{at}]", strict) for at, each in enumerate(value)]
        return origin(found)
    if origin in _MAPPINGS and _holds_objects(inner[1]) and isinstance(value, dict):
        return {key: _value(each, inner[1], f"{name}.{key}", strict) for key, each in value.items()}
    if not _fits(value, hint):
        raise ShapeError(f"{name} is {quoted(value)}; expected {_describe(hint)}")
    return _converted(value, one)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(_fits(value, choice) for choice in inner)
    if origin is tuple and Ellipsis not in inner:
        return (
            isinstance(value, list) and len(value) == len(inner) and all(map(_fits, value, inner))
        )
    if origin in _SEQUENCES:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if origin in _MAPPINGS:
        return isinstance(value, dict) and all(_fits(item, inner[1]) for item in value.values())
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [choice.value for choice in hint]
    return isinstance(value, hint)


def _converted(value: Any, hint: Any) -> Any:
    """A value that fits as its type has it: tuples and enumerations are none of JSON's."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and Ellipsis not in inner:
        return tuple(map(_converted, value, inner))
    if origin in _SEQUENCES:
        return origin(_converted(item, inner[0]) for item in value)
    if origin in _MAPPINGS:
        return {key: _converted(item, inner[1]) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return value


def _takes_none(hint: Any) -> bool:
    return hint is Any or types.NoneType in typing.get_args(hint)


def _without_none(hint: Any) -> Any:
    """The other type of ``X | None``; any other type as it is."""
    if not isinstance(hint, types.UnionType):
        return hint
    others = [choice for choice in typing.get_args(hint) if choice is not types.NoneType]
    return others[0] if len(others) == 1 else hint


def _holds_objects(hint: Any) -> bool:
    return is_dataclass(_without_none(hint))


def _describe(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(str(choice.value) for choice in hint)
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
