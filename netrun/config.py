"""What one netrun process needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from models.errors import quoted
from netrun.engines import ENGINES, PRECISIONS


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key, its value and the cure."""


@dataclass(frozen=True)
class SimulatedService:
    """Service time of the `sim` engine: a batch of b takes base_ms + b * sample_ms, times a factor
    drawn from a normal distribution around 1 with standard deviation `jitter`.

    `batch_ms`, where given, are the times of batches of 1, 2, ... samples instead; larger batches
    go on as the last two do. Time need not be proportional there: caches overflow.
    """

    base_ms: float = 0.4
    sample_ms: float = 4.3
    jitter: float = 0.05
    batch_ms: tuple[float, ...] = ()

    def mean_ms(self, batch: int) -> float:
        """The mean time of a batch of `batch` samples."""
        if not self.batch_ms:
            return self.base_ms + batch * self.sample_ms
        beyond = batch - len(self.batch_ms)
        last = self.batch_ms[-1]
        if beyond <= 0:
            return self.batch_ms[batch - 1]
        return last + beyond * (last - self.batch_ms[-2] if len(self.batch_ms) > 1 else last)

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_ms", tuple(self.batch_ms))
        times = (self.base_ms, self.sample_ms, *self.batch_ms)
        if min(times) < 0 or not 0 <= self.jitter < 1:
            raise ConfigError(f"service times {quoted(self)} must not be negative, jitter below 1")


@dataclass(frozen=True)
class NetrunConfig:
    """One instance.

    `artifact` is what `engine` executes (empty for `null` and `sim`). `report` is the JSON file
    that tells launch, once the instance is ready, how it runs. `warmup_s` is how long its rate is
    measured. `spin_us` is how long it looks for a batch before it sleeps: 0 where other instances
    need its processors. `memory_node` is recorded; the binding itself is made at the start.
    """

    run_id: str
    instance: int
    model: str
    engine: str
    precision: str
    artifact: str
    batch_size: int
    threads: int
    report: str
    processors: list[int] | None = None
    memory_node: int | None = None
    warmup_s: float = 2.0
    attach_timeout_s: float = 120.0
    spin_us: float = 100.0
    sim: SimulatedService = field(default_factory=SimulatedService)

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"unknown engine {quoted(self.engine)} (known: {', '.join(ENGINES)})")
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ConfigError(f"unknown precision {quoted(self.precision)} (known: {known})")
        if self.spin_us < 0:
            raise ConfigError(f"spin_us is {quoted(self.spin_us)}; it must be 0 or more")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {quoted(getattr(self, name))}; it must be at least 1")

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> NetrunConfig:
        """Read what `to_json` wrote; raises ConfigError for an unknown, missing or bad value."""
        try:
            values = _checked(cls, json.loads(text))
            if "sim" in values:
                values["sim"] = SimulatedService(**_checked(SimulatedService, values["sim"]))
            return cls(**values)
        except ConfigError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"not a netrun configuration: {error}") from None

    @classmethod
    def load(cls, path: Path) -> NetrunConfig:
        """Read a configuration file; raises ConfigError naming it."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not a text file") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


def _checked(cls: type, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{cls.__name__} must be a JSON object")
    known = {f.name for f in fields(cls)}
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {quoted(key)} of {cls.__name__}")
    return values
