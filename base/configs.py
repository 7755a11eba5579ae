"""Configurations of processes: dataclasses, written as JSON by one process and checked by another.

A subclass of Config is a frozen dataclass whose fields are numbers, texts, lists or tuples of one
type, other dataclasses, or None beside one of the former::

    @dataclass(frozen=True)
    class PlanConfig(Config):
        processors: list[int]
        spin_us: float = 100.0
"""

from __future__ import annotations

import json
import types
import typing
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
    if is_dataclass(hint):
        return _read(typing.cast(type, hint), value, f"{name}.")
    if not _fits(value, hint):
        raise ConfigError(f"{name} is {quoted(value)}; expected {_describe(hint)}")
    return tuple(value) if typing.get_origin(hint) is tuple else value


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, choice) for choice in typing.get_args(hint))
    if typing.get_origin(hint) in (list, tuple):
        inner = typing.get_args(hint)[0]
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
