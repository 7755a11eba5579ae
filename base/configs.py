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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from base.checked import ShapeError, read
from base.errors import ConfigError


@dataclass(frozen=True)
class Config:
    """Base of configurations; a subclass may check more when created (`__post_init__`)."""

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
        try:
            return read(cls, values, "the configuration", strict=True)
        except ShapeError as error:
            raise ConfigError(str(error)) from None

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
