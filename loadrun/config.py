"""What one loadrun process needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from loadrun.rounds import UnknownRoundError, parse_round
from loadrun.scenarios import UnknownNameError, nearest, parse_mode, parse_scenario
from models.errors import quoted
from shm.segment import segment_name


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key, its value and the cure."""


@dataclass(frozen=True)
class Overrides:
    """Command-line settings; each wins over user.conf, and None leaves a setting alone.

    `target_qps` is samples/s (Offline) or queries/s (the others). `target_latency_ms` is the limit
    of Server and the expected latency of SingleStream and MultiStream. In Offline, where LoadGen
    issues one query, the two query counts count samples. A `max_query_count` of 0 is no bound.
    """

    min_duration_s: float | None = None
    min_query_count: int | None = None
    max_query_count: int | None = None
    target_qps: float | None = None
    target_latency_ms: float | None = None
    samples_per_query: int | None = None


@dataclass(frozen=True)
class LoadrunConfig:
    """One LoadGen test.

    `samples` names a .npy file, uint8 [n, *sample shape], of which the first `sample_count` rows
    are the data set. `response_bytes` is the capacity of one sample's answer. `in_flight` bounds
    the batches an instance holds at a time. `processors` is the affinity of this process.
    `spin_us` is how long loadrun looks for answers before it sleeps.
    `report` is the JSON file written (whole, by rename) when the test starts and when it ends.
    `any_length`: a test that takes far longer than was asked for is run all the same.
    `round` is the MLPerf round whose seeds hold; None leaves LoadGen's own.
    """

    run_id: str
    model: str
    scenario: str
    mode: str
    log_dir: str
    samples: str
    sample_count: int
    report: str
    instances: int = 1
    batch_size: int = 1
    response_bytes: int = 4
    in_flight: int = 2
    policy: str = "pull"
    sort_samples: bool = True
    performance_sample_count: int | None = None
    user_conf: str | None = None
    audit_config: str | None = None
    round: str | None = None
    any_length: bool = False
    processors: list[int] | None = None
    spin_us: float = 100.0
    overrides: Overrides = field(default_factory=Overrides)
    start_timeout_s: float = 120.0
    stop_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Check every value; names of scenario and mode take LoadGen's spelling."""
        try:
            segment_name(self.run_id, "control")
        except ValueError as error:
            raise ConfigError(f"run_id: {error}") from None
        try:
            object.__setattr__(self, "scenario", parse_scenario(self.scenario))
            object.__setattr__(self, "mode", parse_mode(self.mode))
            if self.round is not None:
                object.__setattr__(self, "round", parse_round(self.round))
        except (UnknownNameError, UnknownRoundError) as error:
            raise ConfigError(str(error)) from None
        for name in ("sample_count", "instances", "batch_size", "response_bytes", "in_flight"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {quoted(getattr(self, name))}; it must be at least 1")
        if self.spin_us < 0:
            raise ConfigError(f"spin_us is {quoted(self.spin_us)}; it must be 0 or more")
        if self.performance_sample_count is not None and self.performance_sample_count < 1:
            raise ConfigError(
                f"performance_sample_count is {quoted(self.performance_sample_count)}; "
                "leave it out or make it at least 1"
            )
        if self.mode == "FindPeakPerformance" and self.scenario != "Server":
            raise ConfigError(
                f"mode FindPeakPerformance exists for Server only, not {self.scenario}; "
                "choose scenario Server or mode PerformanceOnly"
            )
        self._check_overrides()

    def _check_overrides(self) -> None:
        for item in fields(Overrides):
            value = getattr(self.overrides, item.name)
            lowest = 0 if item.name.startswith(("min_", "max_")) else None
            if value is not None and (value < 0 or (lowest is None and value == 0)):
                raise ConfigError(f"overrides.{item.name} is {quoted(value)}; it must be positive")
        if self.overrides.samples_per_query is not None and self.scenario != "MultiStream":
            raise ConfigError(
                f"overrides.samples_per_query applies to MultiStream, not {self.scenario}"
            )
        if self.overrides.target_latency_ms is not None and self.scenario == "Offline":
            raise ConfigError("overrides.target_latency_ms: Offline has no latency limit")

    def to_json(self) -> str:
        """Return the configuration as JSON text that `from_json` reads back."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> LoadrunConfig:
        """Read a configuration; unknown, missing or mistyped keys raise ConfigError."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"not JSON: {error}") from None
        values = _checked(cls, raw, "")
        if "overrides" in values:
            values["overrides"] = Overrides(
                **_checked(Overrides, values["overrides"], "overrides.")
            )
        return cls(**values)

    @classmethod
    def load(cls, path: str | Path) -> LoadrunConfig:
        """Read a configuration file; errors name the file."""
        try:
            return cls.from_json(Path(path).read_text())
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not a text file") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


def _checked(cls: type, raw: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'} must be an object")
    hints = typing.get_type_hints(cls)
    for key, value in raw.items():
        if key not in hints:
            guess = nearest(key, list(hints))
            hint = f" (nearest: {guess})" if guess else ""
            raise ConfigError(f"unknown key {quoted(prefix + key)}{hint}")
        if not _fits(value, hints[key]):
            raise ConfigError(f"{prefix}{key} is {quoted(value)}; expected {_describe(hints[key])}")
    for item in fields(cls):
        optional = item.default is not MISSING or item.default_factory is not MISSING
        if item.name not in raw and not optional:
            raise ConfigError(f"missing key {item.name!r}")
    return dict(raw)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, choice) for choice in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        (inner,) = typing.get_args(hint)
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    if hint is Overrides:
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
