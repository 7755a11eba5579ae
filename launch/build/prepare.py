"""Has what is missing built by a process of its own, with progress for the user."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from base.errors import InputError, InterruptedRunError, RunError
from launch.build.assets import Assets
from launch.build.building import AssetsConfig
from launch.build.cache import cache_directory
from launch.build.calibration import Calibration
from launch.supervise.environment import base_environment
from launch.machine.limits import kills_for_memory, with_memory_named
from launch.options import CalibrateOptions, Sources
from launch.build.preprocessing import Preprocessed
from launch.supervise.processes import Child, describe_end, end_all, error_line, start
from launch.supervise.signals import Signals
from launch.supervise.tail import Tail
from launch.screen.terminal import Bar, Terminal
from loadrun.durations import duration

POLL_S = 0.1
LEAVE_S = 5.0
RATE_KNOWN_S = 2.0


class Needs(Protocol):
    """The options that decide what has to be there."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def sources(self) -> Sources:
        """Weights, images, calibration images."""

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
    """Build what `options` needs, or find it built; raises what `build` does.

    `processors` are those of an instance; the others have as many.
    """
    result = directory / "assets.json"
    config = _config(
        result,
        options.model,
        options.sources,
        options.engine,
        options.precision,
        options.batch_size,
        len(processors),
        processors,
    )
    notices = build("launch.build.assets", config, directory, terminal, signals)
    return replace(Assets.load(result), notices=notices)


def prepare_calibration(
    options: CalibrateOptions,
    threads: int,
    processors: Sequence[int],
    directory: Path,
    terminal: Terminal,
    signals: Signals,
) -> Calibration:
    """Calibrate and compile as `options` says, or find it done; raises what `build` does.

    `threads` are those of an instance and `processors` what it has here, none if this machine has
    not so many.
    """
    result = directory / "calibration.json"
    sources = Sources(
        weights=options.weights,
        images=options.images if options.names else None,
        labels=None,
        calibration=options.names or options.images,
    )
    config = _config(
        result,
        options.model,
        sources,
        options.engine,
        "int8",
        options.batch_size,
        threads,
        processors,
    )
    build("launch.build.calibration", config, directory, terminal, signals)
    return Calibration.load(result)


def prepare_samples(
    model: str, sources: Sources, directory: Path, terminal: Terminal, signals: Signals
) -> Preprocessed:
    """Preprocess the images of `sources`, or find it done; raises what `build` does."""
    result = directory / "preprocessing.json"
    build("launch.build.preprocessing", _config(result, model, sources), directory, terminal, signals)
    return Preprocessed.load(result)


def _config(
    result: Path,
    model: str,
    sources: Sources,
    engine: str = "null",
    precision: str = "int8",
    batch_size: int = 1,
    threads: int = 1,
    processors: Sequence[int] = (),
) -> AssetsConfig:
    """What is to be built; an engine that computes nothing needs samples alone."""
    return AssetsConfig(
        model=model,
        weights=_text(sources.weights),
        images=_text(sources.images),
        labels=_text(sources.labels),
        calibration=_text(sources.calibration),
        engine=engine,
        precision=precision,
        batch_size=batch_size,
        threads=threads,
        processors=list(processors),
        cache=str(writable_cache()),
        result=str(result),
    )


def writable_cache() -> Path:
    """The cache directory, made if it is missing; raises InputError where that is impossible."""
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cache directory {cache}: {error.strerror} (choose another with LOADRUN_CACHE)"
        ) from None
    return cache


def build(
    module: str, config: AssetsConfig, directory: Path, terminal: Terminal, signals: Signals
) -> list[str]:
    """Run ``python -m MODULE CONFIG.json``; returns what it told the user beside its progress.

    Log and configuration go to `directory`.

    Raises InputError for weights or images that cannot be used, RunError when building fails,
    InterruptedRunError on an ending signal (what was half-built is gone then).
    """
    config_path = directory / "assets.config.json"
    config_path.write_text(config.to_json(), encoding="utf-8")
    child = start(
        "prepare",
        [sys.executable, "-m", module, str(config_path)],
        log=directory / "prepare.log",
        environment=base_environment(),
    )
    kills = kills_for_memory()
    try:
        with terminal.bar("preparing") as bar:
            notices = _watch(child, bar, terminal, signals)
    finally:
        end_all([child], signals, patience_s=LEAVE_S)
    code = child.ended()
    if code == 0:
        return notices
    words = child.last_words()
    if code == InputError.code:
        raise InputError(error_line(words) or words)
    assert code is not None
    said = f"; its last lines:\n{words}" if words else ""
    error = RunError(f"preparing {config.model} {describe_end(code)}{said}")
    raise with_memory_named(error, kills)


def _watch(child: Child, bar: Bar, terminal: Terminal, signals: Signals) -> list[str]:
    """Show progress until the child has ended; each stage that did work leaves one line.

    Returns the notices, which are shown, too.
    """
    output = Tail(child.log)
    told: set[str] = set()
    notices: list[str] = []
    pace = _Pace()
    while True:
        ended = child.ended() is not None
        for line in output.lines():
            if not line.startswith(('{"stage"', '{"notice"')):
                continue
            step = json.loads(line)
            if "notice" in step:
                notices.append(step["notice"])
                terminal.line(f"  note: {step['notice']}")
                continue
            if step["stage"] not in told:
                told.add(step["stage"])
                terminal.line(f"preparing: {step['stage']} (once)")
            bar.update(step["done"], step["total"] or None, pace.detail(step))
        if ended:
            return notices
        signals.wait(POLL_S)
        if signals.ending is not None:
            raise InterruptedRunError(f"interrupted by {signals.ending.name}")


class _Pace:
    """How fast a stage goes, and how long it still takes."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = (0.0, 0)

    def detail(self, step: dict[str, Any]) -> str:
        """The stage with its progress; rate and time left once they are known."""
        now, done, total = time.monotonic(), int(step["done"]), int(step["total"])
        if step["stage"] != self._stage:
            self._stage, self._began = step["stage"], (now, done)
        text = f"{self._stage}  {done} of {total}" if total else self._stage
        began, before = self._began
        if now - began < RATE_KNOWN_S or done <= before or not total:
            return text
        rate = (done - before) / (now - began)
        return f"{text}, {rate:.0f}/s, {duration((total - done) / rate)} left"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
