"""Where weights and data sets are kept for all runs: MLPERF_SCRATCH_PATH, or the cache.

As NVIDIA's harness has it, MLPERF_SCRATCH_PATH holds models/, data/ and preprocessed_data/. Below
models/ is a folder for each task, below data/ one for each data set. What stands there is what a
run uses where no option and no other variable says something else; the cache is only where
`loadrun fetch` puts files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError
from launch.build.cache import SCRATCH, cache_directory, expanded

if TYPE_CHECKING:
    from models.task import Task

WEIGHTS = (".pth", ".pt", ".pytorch", ".bin", ".safetensors", ".onnx")
"""How weights files end."""


def weights_folder(task: Task, environment: Mapping[str, str] | None = None) -> Path:
    """The folder for a task's published weights."""
    scratch = _scratch(environment)
    return scratch / "models" / task.name if scratch else cache_directory(environment) / "weights"


def data_folder(name: str, environment: Mapping[str, str] | None = None) -> Path:
    """The folder for the data set of that name."""
    return (_scratch(environment) or cache_directory(environment)) / "data" / name


def in_scratch(task: Task, environment: Mapping[str, str] | None = None) -> dict[str, Path]:
    """What of a task is below MLPERF_SCRATCH_PATH, by option of a run; nothing where it is not set.

    InputError for a folder of several weights none of which is a published one.
    """
    if _scratch(environment) is None:
        return {}
    found = {"weights": _weights(task, weights_folder(task, environment))}
    if task.dataset is not None:
        folder = data_folder(task.dataset.name, environment)
        for option, pattern in task.dataset.places.items():
            found[option] = next(iter(sorted(folder.glob(pattern))), None)
    return {option: path for option, path in found.items() if path is not None}


def _scratch(environment: Mapping[str, str] | None) -> Path | None:
    chosen = (os.environ if environment is None else environment).get(SCRATCH)
    return expanded(chosen, SCRATCH) if chosen else None


def _weights(task: Task, folder: Path) -> Path | None:
    """The first published file that is there, else the only one that looks like weights."""
    published = [folder / file.name for file in task.published if not file.beside]
    there = [path for path in published if path.is_file()]
    if there:
        return there[0]
    others = [path for path in sorted(folder.glob("*")) if path.suffix in WEIGHTS]
    if len(others) > 1:
        names = " and ".join(path.name for path in others)
        raise InputError(f"{folder}: holds {names}: choose one with --weights")
    return others[0] if others else None
