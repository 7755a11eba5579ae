"""Builds what is wanted of a task, or finds it in the cache: in the building process alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import models
from launch.build.assets import (
    Assets,
    BuildConfig,
    CacheFile,
    CostFacts,
    DataFacts,
    SampleFacts,
)
from launch.build.rehearsal import rehearse
from loadrun.capacity import quantiles
from models.samples import Prepared, prepare
from models.task import DataSet, Sources, Task
from models.workers import Progress
from netrun.engines import registry
from netrun.engines.order import Order, weights_hash

COMPILING = "calibrating and compiling"
MEASURING = "measuring batch sizes"
EMBEDDED = "embedded"
"""Weights that no file holds."""
SYNTHETIC = "synthetic model"
"""How the stage of what is embedded begins."""

Notice = Callable[[str], None]
"""Takes what the user should know."""


def make(config: BuildConfig, progress: Callable[[str, int, int], None], notice: Notice) -> Assets:
    """Make or find everything that is wanted.

    `progress` is called with a stage, how much of it is done, and its total. Raises InputError for
    what the user gave, EngineError for an engine that cannot be used.
    """

    def stage(name: str) -> Progress:
        return lambda done, total: progress(name, done, total)

    sources = Sources(
        data=_path(config.data),
        weights=_path(config.weights),
        calibration=_path(config.calibration),
        cache=Path(config.cache),
        options=config.options,
    )
    task = variant(config.model, sources.weights, notice)
    sources = replace(sources, reading=stage(f"reading {task.items}"))
    if _embeds(config, task):
        task.embed(sources, stage(f"{SYNTHETIC} and {task.items}"))
    served: SampleFacts | None = None
    truth = ""
    if config.samples:
        data = task.data(sources)
        if not data.synthetic:
            notice(f"{'' if data.scored else 'no '}{task.truths}: {data.truth}")
            for note in data.notes:
                notice(note)
        served, _ = _prepared(data, sources, stage(f"preprocessing {task.items}"))
        truth = data.truth
    weights: DataFacts | None = None
    calibration: SampleFacts | None = None
    files: list[CacheFile] = []
    artifact = None
    if config.artifact is not None:
        wanted = config.artifact
        file = task.weights(sources)
        weights = DataFacts(
            EMBEDDED if file is None else file.name,
            EMBEDDED if file is None else weights_hash(file, Path(config.cache)),
            _synthetic(config, task, served),
        )
        samples = None
        if wanted.precision == "int8":
            chosen = task.calibration(sources)
            if sources.calibration is not None:
                for note in chosen.notes:
                    notice(f"calibration: {note}")
            calibration, samples = _prepared(
                chosen, sources, stage(f"preprocessing calibration {task.items}")
            )
        built = registry.build(
            wanted.engine,
            Order(
                task,
                file,
                wanted.precision,
                served.most_samples(wanted.batch_size) if served else wanted.batch_size,
                wanted.threads,
                Path(config.cache),
                calibration=samples,
                progress=stage(COMPILING),
                measuring=stage(MEASURING),
                notice=notice,
                made=lambda path, built: files.append(CacheFile(str(path), built)),
                processors=wanted.processors,
            ),
        )
        artifact = None if built is None else str(built)
        if built is not None and served is not None and models.is_own(config.model):
            rehearse(config, task, built, served, sources)
    # A user's file is its own variant: its name is the one that processes find it by.
    name = config.model if models.is_own(config.model) else task.name
    return Assets(name, served, weights, calibration, files, artifact, truth)


def variant(name: str, weights: Path | None, notice: Notice) -> Task:
    """The task as the given weights want it; says so where that is not the usual one."""
    task = models.get(name)
    if weights is None or models.is_own(name):
        return task
    fitting = task.fitting(weights)
    if fitting.name != task.name:
        notice(f"the weights are {fitting.origin}: {fitting.items} are preprocessed for them")
    return fitting


def _embeds(config: BuildConfig, task: Task) -> bool:
    """Whether a part of the embedded default is needed: of a file's network its data alone."""
    if task.network_file is None:
        return config.embedded
    calibrates = config.artifact is not None and config.artifact.precision == "int8"
    return config.data is None and (config.samples or calibrates)


def _synthetic(config: BuildConfig, task: Task, served: SampleFacts | None) -> bool:
    """Whether weights are those of the embedded default; a user's task has one with its data."""
    if config.weights is not None or task.network_file is not None:
        return False
    return not models.is_own(config.model) or (served is not None and served.data.synthetic)


def _prepared(data: DataSet, sources: Sources, progress: Progress) -> tuple[SampleFacts, Prepared]:
    """The samples, and what is recorded of them."""
    new = 0

    def note(done: int, total: int) -> None:
        nonlocal new
        # The first call says how many there were already.
        new = new or total - done
        progress(done, total)

    assert sources.cache is not None
    samples = prepare(data, sources.cache, note)
    facts = DataFacts(data.name, data.sha256, data.synthetic)
    return SampleFacts(str(samples.path), len(samples), new, facts, cost_facts(samples)), samples


def cost_facts(samples: Prepared) -> CostFacts | None:
    """What is to be known of the samples' work; None where it is all the same."""
    least, most = float(samples.costs.min()), float(samples.costs.max())
    if least == most:
        return None
    mean = float(samples.costs.mean())
    return CostFacts(least / mean, most / mean, quantiles((samples.costs / mean).tolist()))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
