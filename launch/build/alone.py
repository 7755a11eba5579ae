"""Building an artifact without a run: what `loadrun build` and `loadrun calibrate` do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import models
from launch.build.assets import ArtifactConfig, Assets, CacheFile
from launch.build.engine import check_engine
from launch.build.prepare import build, wanted
from launch.machine.plan import make_plan
from launch.machine.topology import read_topology
from launch.options import Sources
from launch.screen.announcement import announce_instructions
from launch.screen.terminal import Terminal
from launch.supervise.signals import Signals

COMPILES = "onednn"
"""The engine that compiles for a machine, a batch size and a number of threads."""


@dataclass(frozen=True)
class ArtifactOptions:
    """An artifact as the user asked for it; `threads` is None where the default plan decides."""

    model: str
    sources: Sources
    engine: str
    precision: str
    batch_size: int
    threads: int | None


def build_alone(
    options: ArtifactOptions,
    announcement: Callable[[str], Sequence[str]],
    summary: Callable[[Assets, float], Sequence[str]],
) -> None:
    """Build the files that the cache does not have yet.

    The `announcement` is built around a line about the engine, the `summary` of what was built and
    of the seconds that it took. Raises LoadrunError.
    """
    check_engine(options.engine)
    threads = options.threads
    plan = make_plan(read_topology(), 1 if threads else None, threads)
    # More threads than this machine has cores: for another machine, or to try.
    processors = () if plan.fitted else plan.instances[0].processors
    threads = threads or len(processors)
    terminal = Terminal()
    terminal.lines(announcement(engine_line(options, threads)))
    if options.precision == "int8":
        announce_instructions(terminal)
    began = time.monotonic()
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="loadrun-") as directory:
        artifact = ArtifactConfig(
            options.engine, options.precision, options.batch_size, threads, list(processors)
        )
        config = wanted(options.model, options.sources, artifact=artifact)
        assets = build(config, Path(directory), terminal, signals)
    terminal.line()
    terminal.lines(summary(assets, time.monotonic() - began))


def engine_line(options: ArtifactOptions, threads: int) -> str:
    """What it is built for, as a line for a person."""
    if options.engine != COMPILES:
        return f"  engine: {options.engine}"
    cores = f"{threads} core{'s' * (threads > 1)}"
    return f"  engine: {options.engine}, batch size {options.batch_size}, instances of {cores}"


def file_lines(assets: Assets, precision: str) -> list[str]:
    """Files and keys as lines for a person: those of the weights alone, then compiled ones."""
    first = "int8 program" if precision == "int8" else f"{precision} network"
    names = (first, "compiled for this machine")
    return [line for what, f in zip(names, assets.files, strict=False) for line in _file(what, f)]


def source_lines(assets: Assets) -> list[str]:
    """Weights and calibration data as lines for a person."""
    assert assets.weights is not None
    weights, calibration = assets.weights, assets.calibration
    synthetic = weights.synthetic or (calibration is not None and calibration.data.synthetic)
    lines = [f"weights: {weights.name}  sha256 {weights.sha256}{'  synthetic' * synthetic}"]
    if calibration is not None:
        items = models.get(assets.model).items
        lines.append(f"calibration {items}: {calibration.count} of {calibration.data.name}")
    return lines


def _file(what: str, file: CacheFile) -> list[str]:
    state = "built" if file.built else "found"
    return [f"{what}: {state}, key {file.key}", f"  {file.path}"]
