"""The part of a record that says how the processes of its run did, and what went on beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from base.checked import LATER, REST
from launch.machine.pinning import Binding
from launch.machine.quiet import Disturbance


@dataclass(frozen=True)
class BindingsRecord:
    """The kernel's figures of each process; None of one that was gone."""

    loadrun: Binding | None
    instances: Mapping[str, Binding | None]


@dataclass(frozen=True, kw_only=True)
class DeathRecord:
    """An instance that died while the run went on (`launch.supervise.deaths.Death`)."""

    instance: int
    at_s: float
    end: str
    cause: str | None = None
    last_words: str
    restarted: bool = False


@dataclass(frozen=True)
class PoisonRecord:
    """Samples of which one ended the run, and their files (`launch.outcome.poison.Poison`)."""

    samples: tuple[int, ...]
    files: tuple[str | None, ...]


@dataclass(frozen=True)
class EngineDetails:
    """What an engine says of itself: `more`, and for onednn how batches of each size are run.

    `batch_ms` are the times of 1, 2, ... samples, `batches` the sizes that run instead of those
    that do not run as they are, `references` the sizes of chunks by operation for which oneDNN has
    its reference kernel alone.
    """

    batch_ms: tuple[float, ...] | None = field(default=None, metadata=LATER)
    batches: Mapping[str, tuple[int, ...]] | None = field(default=None, metadata=LATER)
    references: Mapping[str, tuple[int, ...]] | None = field(default=None, metadata=LATER)
    more: Mapping[str, Any] = field(default_factory=dict, metadata=REST)


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """An instance's report when it was ready (netrun.report); `rate` in samples/s by itself."""

    instance: int | None = field(default=None, metadata=LATER)
    pid: int | None = field(default=None, metadata=LATER)
    engine: str | None = field(default=None, metadata=LATER)
    precision: str | None = field(default=None, metadata=LATER)
    batch_size: int | None = field(default=None, metadata=LATER)
    threads: int | None = field(default=None, metadata=LATER)
    affinity: tuple[int, ...] | None = field(default=None, metadata=LATER)
    memory_node: int | None = None
    rate: float | None = None
    unique_memory_mb: float | None = field(default=None, metadata=LATER)
    details: EngineDetails = field(default_factory=EngineDetails)
    phases_s: Mapping[str, float] | None = field(default=None, metadata=LATER)
    more: Mapping[str, Any] = field(default_factory=dict, metadata=REST)


@dataclass(frozen=True, kw_only=True)
class ProcessesRecord:
    """How the processes did; empty where none was started.

    `alarm` is what deaths say of the result, `not_quiet` what may have made figures too low.
    """

    disturbance: Disturbance | None = None
    not_quiet: tuple[str, ...] = ()
    bindings: BindingsRecord | None = None
    deaths: tuple[DeathRecord, ...] = ()
    alarm: str | None = None
    poison: PoisonRecord | None = None
    removed_segments: tuple[str, ...] = ()
    engines: Mapping[str, EngineRecord] = field(default_factory=dict)
