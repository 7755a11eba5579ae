"""Configurations of processes: dataclasses, written as JSON by one process and checked by another.

A subclass of Config is a frozen dataclass whose fields are numbers, texts, other dataclasses, lists
or tuples of one type, mappings from text to one type, or None beside one of the former::

    @dataclass(frozen=True)
    class PlanConfig(Config):
        processors: list[int]
        spin_us: float = 100.0
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from base.errors import ConfigError, quoted


@dataclass(frozen=True)
class Config:
    """Base of configurations; a subclass may check more when it is made (`__post_init__`)."""

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; unknown, missing and mistyped keys raise ConfigError."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            name = cls.__name__.removesuffix("Config").lower()
            raise ConfigError(f"not JSON, so not a {name} configuration: {error}") from None
        found: Self = _read(cls, values, "")
        return found

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a configuration file; raises ConfigError naming it."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not a text file") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


def _read(cls: type, values: Any, prefix: str) -> Any:
    """An instance of a dataclass from JSON values; `prefix` names where they stand."""
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'} must be an object")
    hints = typing.get_type_hints(cls)
    read: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            near = get_close_matches(key, hints, 1, 0.4)
            hint = f" (nearest: {near[0]})" if near else ""
            raise ConfigError(f"unknown key {quoted(prefix + key)}{hint}")
        read[key] = _value(value, hints[key], prefix + key)
    for item in fields(cls):
        optional = item.default is not MISSING or item.default_factory is not MISSING
        if item.name not in read and not optional:
            raise ConfigError(f"missing key {prefix + item.name!r}")
    return cls(**read)


def _value(value: Any, hint: Any, name: str) -> Any:
    if isinstance(hint, types.UnionType):
        objects = [choice for choice in typing.get_args(hint) if is_dataclass(choice)]
        if objects and value is not None:
            return _value(value, objects[0], name)
    if is_dataclass(hint):
        return _read(typing.cast(type, hint), value, f"{name}.")
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and is_dataclass(inner[0]) and isinstance(value, list):
        return [_value(item, inner[0], f"{name}[{at}]") for at, item in enumerate(value)]
    if not _fits(value, hint):
        raise ConfigError(f"{name} is {quoted(value)}; expected {_describe(hint)}")
    return tuple(value) if origin is tuple else value


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(_fits(value, choice) for choice in inner)
    if origin in (list, tuple):
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(_fits(item, inner[1]) for item in value.values())
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
