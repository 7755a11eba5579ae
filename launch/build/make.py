"""Builds the wanted files of a model, or finds them in the cache: in the building process alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import netrun.build
from launch.build.assets import Assets, BuildConfig, CacheFile, DataFacts, SampleFacts
from launch.build.data import (
    PREPARING,
    PREPARING_CALIBRATION,
    Notice,
    announce_calibration,
    announce_served,
    calibration_facts,
    open_data,
    prepare,
    served_facts,
    variant,
)
from models.task import Sources
from models.workers import Progress

COMPILING = "calibrating and compiling"
MEASURING = "measuring batch sizes"


def make(config: BuildConfig, progress: Callable[[str, int, int], None], notice: Notice) -> Assets:
    """Make or find everything that is wanted.

    `progress` is called with a stage, how much of it is done, and its total; `notice` with what the
    user should know. Raises InputError for what the user gave, EngineError for an engine that
    cannot be used.
    """

    def stage(name: str) -> Progress:
        return lambda done, total: progress(name, done, total)

    cache = Path(config.cache)
    sources = Sources(
        data=_path(config.data),
        weights=_path(config.weights),
        calibration=_path(config.calibration),
        cache=cache,
        options=config.options,
    )
    model = variant(config.model, sources.weights, notice)
    data = open_data(model, sources, config.embedded, cache, stage)
    served: SampleFacts | None = None
    labels, labels_from = None, ""
    if config.samples:
        announce_served(data.served, notice)
        served = served_facts(*prepare(model, data.served, cache, PREPARING, stage))
        labels, labels_from = data.served.labels, data.served.labels_from
    weights: DataFacts | None = None
    calibration: SampleFacts | None = None
    files: list[CacheFile] = []
    if config.artifact is not None:
        wanted = config.artifact
        sha256 = netrun.build.weights_hash(data.weights)
        weights = DataFacts(data.weights.name, sha256, config.weights is None)
        samples = None
        if wanted.precision == "int8":
            if sources.calibration is not None:
                announce_calibration(data.calibration, notice)
            prepared, new = prepare(model, data.calibration, cache, PREPARING_CALIBRATION, stage)
            calibration, samples = calibration_facts(prepared, new), prepared.open()
        netrun.build.ensure_artifact(
            model.name,
            data.weights,
            samples,
            wanted.precision,
            wanted.engine,
            wanted.batch_size,
            wanted.threads,
            cache,
            stage(COMPILING),
            notice,
            lambda path, built: files.append(CacheFile(str(path), built)),
            measuring=stage(MEASURING),
            processors=wanted.processors,
        )
    return Assets(model.name, served, weights, calibration, files, labels, labels_from)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
