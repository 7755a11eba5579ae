"""Has missing files built by a process of its own, with progress for the user."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from base.errors import InputError, RunError
from launch.build.assets import WITHOUT_ARTIFACT, ArtifactConfig, Assets, BuildConfig
from launch.build.cache import cache_directory, writable_cache
from launch.build.progress import watch
from launch.machine.limits import kills_for_memory, with_memory_named
from launch.options import Sources
from launch.screen.terminal import Terminal
from launch.supervise.environment import base_environment
from launch.supervise.processes import describe_end, end_all, error_line, start
from launch.supervise.signals import Signals
from models.task import Sources as TaskSources

LEAVE_S = 5.0


class Needs(Protocol):
    """The options that decide what has to be there."""

    @property
    def model(self) -> str:
        """The name of the task, or of a benchmark of it."""

    @property
    def sources(self) -> Sources:
        """Weights, data, calibration data."""

    @property
    def engine(self) -> str:
        """What executes the model."""

    @property
    def precision(self) -> str:
        """int8, bf16 or fp32."""

    @property
    def batch_size(self) -> int:
        """Samples of a batch at most."""


def prepare(
    options: Needs,
    processors: Sequence[int],
    directory: Path,
    terminal: Terminal,
    signals: Signals,
) -> Assets:
    """Build the samples and the artifact of a run, or find them built; raises what `build` does.

    `processors` are those of an instance; the others have as many.
    """
    artifact = None
    if options.engine not in WITHOUT_ARTIFACT:
        artifact = ArtifactConfig(
            options.engine,
            options.precision,
            options.batch_size,
            len(processors),
            list(processors),
        )
    config = wanted(options.model, options.sources, samples=True, artifact=artifact)
    return build(config, directory, terminal, signals)


def task_sources(sources: Sources) -> TaskSources:
    """Where a task finds its data and weights, from the options."""
    return TaskSources(
        data=sources.served,
        weights=sources.weights,
        calibration=sources.calibration,
        cache=cache_directory(),
        options=_described(sources),
    )


def _described(sources: Sources) -> dict[str, str]:
    """What else the options say of a data set, by name."""
    return {name: str(v) for name, v in sources.task.items() if v is not None and v is not False}


def wanted(
    model: str, sources: Sources, *, samples: bool = False, artifact: ArtifactConfig | None = None
) -> BuildConfig:
    """The files to build, in the cache; raises InputError where that cannot be."""
    return BuildConfig(
        model=model,
        data=_text(sources.served),
        weights=_text(sources.weights),
        calibration=_text(sources.calibration),
        options=_described(sources),
        samples=samples,
        artifact=artifact,
        cache=str(writable_cache()),
    )


def build(config: BuildConfig, directory: Path, terminal: Terminal, signals: Signals) -> Assets:
    """Have a process build the wanted files, or find them built, and show its progress.

    Its log, configuration and result go to `directory`.

    Raises InputError for weights or data that cannot be used, RunError when building fails,
    InterruptedRunError on an ending signal (what was half-built is gone then).
    """
    config_path, result = directory / "assets.config.json", directory / "assets.json"
    config_path.write_text(config.to_json(), encoding="utf-8")
    child = start(
        "prepare",
        [sys.executable, "-m", "launch.build", str(config_path), str(result)],
        log=directory / "prepare.log",
        environment=base_environment(),
    )
    kills = kills_for_memory()
    try:
        with terminal.bar("preparing") as bar:
            watch(child, bar, terminal, signals)
    finally:
        end_all([child], signals, patience_s=LEAVE_S)
    code = child.ended()
    if code == 0:
        return Assets.load(result)
    words = child.last_words()
    if code == InputError.code:
        raise InputError(error_line(words) or words)
    assert code is not None
    ending = f"; its last lines:\n{words}" if words else ""
    error = RunError(f"preparing {config.model} {describe_end(code)}{ending}")
    raise with_memory_named(error, kills)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
