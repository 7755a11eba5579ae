"""What can be run here: tasks with their benchmarks, engines, and what the cache holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import models
import models.options
from launch.build.cache import cache_directory
from models.task import Benchmark, Task
from netrun.engines import ENGINES, EngineError, registry

WEIGHTS, ARTIFACTS, SAMPLES = "weights", "artifacts", "samples"
"""Folders of the cache."""


@dataclass(frozen=True)
class BenchmarkEntry:
    """A benchmark: `name` as a user chooses it, the accuracy that a submission must reach."""

    name: str
    metric: str
    reference: float
    target: float
    scenarios: tuple[str, ...]
    samples: int
    performance_samples: int
    server_ms: float | None
    audits: tuple[str, ...]
    precision: str
    edge: str
    datacenter: str


@dataclass(frozen=True)
class PublishedEntry:
    """A published file, and where it is once it was fetched."""

    name: str
    what: str
    url: str
    fetched: str | None


@dataclass(frozen=True)
class CachedEntry:
    """A file or folder of the cache."""

    name: str
    bytes: int


@dataclass(frozen=True)
class TaskEntry:
    """A task; `options` are those that it has beside weights, data and calibration."""

    name: str
    title: str
    aliases: tuple[str, ...]
    items: str
    truths: str
    benchmarks: tuple[BenchmarkEntry, ...]
    options: tuple[str, ...]
    published: tuple[PublishedEntry, ...]
    artifacts: tuple[CachedEntry, ...]


@dataclass(frozen=True)
class EngineEntry:
    """An engine; `missing` says why it cannot be used here, with the cure."""

    name: str
    title: str
    precisions: tuple[str, ...]
    computes: bool
    missing: str | None


@dataclass(frozen=True)
class Catalogue:
    """All of it; `samples` of the cache are those of any task."""

    cache: str
    tasks: tuple[TaskEntry, ...]
    engines: tuple[EngineEntry, ...]
    samples: tuple[CachedEntry, ...]


def catalogue() -> Catalogue:
    """What there is. Raises InputError where there is no place for a cache."""
    cache = cache_directory()
    tasks = [models.get(name) for name in models.names()]
    artifacts = _by_task(_cached(cache / ARTIFACTS), [task.name for task in tasks])
    return Catalogue(
        str(cache),
        tuple(_task(task, cache, artifacts[task.name]) for task in tasks),
        tuple(_engine(name) for name in ENGINES),
        tuple(_cached(cache / SAMPLES)),
    )


def _task(task: Task, cache: Path, artifacts: list[CachedEntry]) -> TaskEntry:
    published = []
    for file in task.published:
        place = cache / WEIGHTS / file.name
        fetched = str(place) if place.is_file() else None
        published.append(PublishedEntry(file.name, file.what, file.url, fetched))
    own = models.options.of_task(task)
    return TaskEntry(
        name=task.name,
        title=task.title,
        aliases=task.aliases,
        items=task.items,
        truths=task.truths,
        benchmarks=tuple(_benchmark(benchmark) for benchmark in task.benchmarks),
        options=tuple(o.usage for o in models.options.declared() if o.name in own),
        published=tuple(published),
        artifacts=tuple(artifacts),
    )


def _benchmark(benchmark: Benchmark) -> BenchmarkEntry:
    return BenchmarkEntry(
        name=benchmark.name,
        metric=benchmark.metric,
        reference=benchmark.reference,
        target=benchmark.target,
        scenarios=benchmark.scenarios,
        samples=benchmark.samples,
        performance_samples=benchmark.performance_samples or benchmark.samples,
        server_ms=benchmark.server_ms,
        audits=benchmark.audits,
        precision=benchmark.precision,
        edge=benchmark.edge,
        datacenter=benchmark.datacenter,
    )


def _engine(name: str) -> EngineEntry:
    facts, missing = registry.facts(name), None
    try:
        registry.check(name)
    except EngineError as error:
        missing = str(error)
    return EngineEntry(name, facts.title, facts.precisions, facts.computes, missing)


def _cached(folder: Path) -> Iterator[CachedEntry]:
    """What is in a folder of the cache; what is being made, and notes beside files, are not."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir():
            yield CachedEntry(path.name, sum(file.stat().st_size for file in path.iterdir()))
        elif path.stat().st_size and not path.name.startswith("."):
            yield CachedEntry(path.name, path.stat().st_size)


def _by_task(entries: Iterator[CachedEntry], names: list[str]) -> dict[str, list[CachedEntry]]:
    """The artifacts of each task: their names begin with its own, and one may begin as another."""
    found: dict[str, list[CachedEntry]] = {name: [] for name in names}
    for entry in entries:
        beginnings = [name for name in names if entry.name.startswith(f"{name}-")]
        if beginnings:
            found[max(beginnings, key=len)].append(entry)
    return found
