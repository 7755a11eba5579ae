"""One `loadrun run` as a step of something larger: a search for a configuration or a rate."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base.errors import ExitCode, InputError, InterruptedRunError, RunError
from launch.environment import base_environment
from launch.options import Sources
from launch.processes import describe_end, end_all, error_line, start
from launch.results import RUN_JSON, home, places
from launch.signals import Signals
from loadrun.scenarios import PERFORMANCE_ONLY

POLL_S = 0.5
LEAVE_S = 15.0


def run_once(
    model: str,
    scenario: str,
    words: Sequence[str],
    directory: Path,
    signals: Signals,
    mode: str = PERFORMANCE_ONLY.name,
) -> dict[str, Any]:
    """Run a test below `directory` (emptied before) and return its run.json.

    VALID or not, a test that completed is an answer. InterruptedRunError when the user ended it,
    InputError and RunError with what the run said.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    command = [sys.executable, "-m", "launch.cli", "run", model, f"--scenario={scenario}"]
    command += [f"--mode={mode}", f"--results={directory / 'results'}", *words]
    log = directory / "run.log"
    child = start("run", command, log=log, environment=base_environment())
    try:
        while child.ended() is None and signals.ending is None:
            signals.wait(POLL_S)
    finally:
        end_all([child], signals, patience_s=LEAVE_S)
    if signals.ending is not None:
        raise InterruptedRunError(f"interrupted by {signals.ending.name}")
    code = child.ended()
    if code not in (ExitCode.OK, ExitCode.INVALID):
        said = child.last_words()
        if code == ExitCode.USAGE:
            raise InputError(error_line(said) or said)
        raise RunError(
            f"{' '.join(command[2:])} {describe_end(code or 0)}; its last lines:\n{said}"
        )
    (place, *_) = places(home(directory / "results", scenario, model), mode)
    record: dict[str, Any] = json.loads((place / RUN_JSON).read_text(encoding="utf-8"))
    return record


def source_words(sources: Sources) -> list[str]:
    """The options that name weights, images, labels and calibration images."""
    named = {
        "weights": sources.weights,
        "images": sources.images,
        "labels": sources.labels,
        "calibration": sources.calibration,
    }
    return [f"--{name}={path}" for name, path in named.items() if path is not None]
