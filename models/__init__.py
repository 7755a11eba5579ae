"""Tasks: networks, weights, data sets, pre- and postprocessing, scores.

Importing this package costs nothing: a task's module (numpy) is imported when `get` is asked for
it, torch when its network is built.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from models.errors import UnknownModel, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from models.model import Model

__all__ = ["UnknownModel", "WeightsError", "for_weights", "get", "names"]

TASKS = {
    "resnet50": "models.resnet50:RESNET50",
    "mobilenet": "models.mobilenet:MOBILENET",
    "bert": "models.squad.task:SQUAD",
}
"""The tasks by name: the module that holds each, and what it is called there."""

VARIANTS = {"resnet50-tf": "models.resnet50:RESNET50_TF"}
"""The same of what `Task.fitting` chooses by the weights."""


def names() -> list[str]:
    """Return the names of the tasks, without their aliases."""
    return list(TASKS)


def get(name: str) -> Model:
    """Return the task of this name, alias or benchmark, in any capitalisation, or the variant.

    Raises UnknownModel, whose message and `nearest` attribute name the nearest task.
    """
    place = TASKS.get(name) or VARIANTS.get(name)
    if place is not None:
        return _load(place)
    known = {}
    for place in TASKS.values():
        task = _load(place)
        benchmarks = (benchmark.name for benchmark in task.benchmarks)
        known.update(dict.fromkeys((task.name, *task.aliases, *benchmarks), task))
    wanted = name.lower().replace("_", "-")
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
    raise UnknownModel(name, known[close[0]].name, names())


def for_weights(model: Model, weights: Path) -> Model:
    """Return the variant of the model that fits the origin of a weights file.

    Variants differ in their preprocessing, whose version is part of the key of cached samples, and
    in their outputs. Raises WeightsError where the file cannot be read.
    """
    fitting: Model = model.fitting(weights)  # type: ignore[assignment]
    return fitting


def _load(place: str) -> Model:
    module, _, instance = place.partition(":")
    task: Model = getattr(importlib.import_module(module), instance)
    return task
