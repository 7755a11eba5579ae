"""Tuned configurations: what `loadrun tune` found, for `loadrun run` to use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import models
from base.configs import Config
from base.errors import ConfigError, InputError
from base.files import write_text
from base.text import slug
from launch.build.cache import cache_directory
from launch.machine.topology import Topology
from launch.tune.space import Choice, Layout
from loadrun.scenarios import SCENARIOS

VERSION = 1


@dataclass(frozen=True)
class Tuned(Config):
    """A choice for a model and a scenario on one machine, and how sure it is.

    `figure` is the median of `repeats` measurements in `unit`, `spread` their range over it, `gain`
    the ratio to the default less 1, `chance` the probability that noise alone looks like that.
    """

    model: str
    scenario: str
    engine: str
    precision: str
    machine: str
    max_latency_ms: float | None
    instances: int
    cores: int
    batch_size: int
    policy: str
    in_flight: int
    figure: float
    unit: str
    spread: float
    repeats: int
    gain: float
    chance: float
    made: str
    version: int = VERSION

    @property
    def choice(self) -> Choice:
        """The configuration."""
        layout = Layout(self.instances, self.cores // self.instances)
        return Choice(layout, self.batch_size, self.policy, self.in_flight)


def machine_key(topology: Topology) -> str:
    """A short name of everything of a machine that a plan depends on."""
    allowed = [(p.id, p.core, p.node, p.l3, p.efficient) for p in topology.allowed]
    text = repr((topology.name, allowed, sorted(topology.memory_nodes), topology.quota))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def tuned_path(model: str, scenario: str, engine: str, precision: str) -> Path:
    """Where the tuned configuration stands; benchmarks of one task share it."""
    name = f"{slug(models.get(model).name)}.{scenario}.{engine}.{precision}.json".lower()
    return cache_directory() / "tuned" / name


def write_tuned(tuned: Tuned) -> Path:
    """Write it, whole; returns where."""
    path = tuned_path(tuned.model, tuned.scenario, tuned.engine, tuned.precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, tuned.to_json() + "\n")
    return path


def read_tuned(path: Path) -> Tuned | None:
    """Read it, None where there is none; InputError for a file that is no tuned configuration."""
    cure = "remove it or run loadrun tune again; --no-tuned leaves it out"
    try:
        tuned = Tuned.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise InputError(f"{path}: not a tuned configuration ({error}); {cure}") from None
    if tuned.version != VERSION:
        raise InputError(f"{path}: not a tuned configuration of this version; {cure}")
    whole = (tuned.instances, tuned.cores, tuned.batch_size, tuned.in_flight)
    if min(whole) < 1 or tuned.cores < tuned.instances:
        raise InputError(f"{path}: instances, cores, batch size must be at least 1; {cure}")
    return tuned


def why_not(tuned: Tuned, topology: Topology, max_latency_ms: float | None) -> str | None:
    """Why a tuned configuration does not fit here; None where it does."""
    if tuned.machine != machine_key(topology):
        return "it was made on another machine or for other processors"
    if SCENARIOS[tuned.scenario].limit is not None and tuned.max_latency_ms != max_latency_ms:
        limit = tuned.max_latency_ms
        condition = "the official limit" if limit is None else f"--max-latency {limit:g}"
        return f"it was made for {condition}"
    return None
