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
    from models.task import Benchmark, Task

__all__ = [
    "UnknownModel",
    "WeightsError",
    "benchmark",
    "canonical",
    "choices",
    "get",
    "names",
    "title",
]

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


def choices() -> list[str]:
    """Return every name that a user may choose by, without aliases: tasks and their benchmarks."""
    found = dict.fromkeys(names())
    for place in TASKS.values():
        found |= dict.fromkeys(benchmark.name for benchmark in _load(place).benchmarks)
    return list(found)


def get(name: str) -> Task:
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


def canonical(name: str) -> str:
    """Return the one name of what a user chose: a benchmark, a task or an alias.

    It names a benchmark, the first one of a task that was chosen as such, and the task itself where
    that has only one. Raises UnknownModel.
    """
    return get(name).called(name)


def benchmark(name: str) -> Benchmark:
    """Return the benchmark that a name means. Raises UnknownModel."""
    return get(name).benchmark(name)


def title(name: str) -> str:
    """Return what people call what a name means. Raises UnknownModel."""
    return get(name).titled(name)


def _load(place: str) -> Task:
    module, _, instance = place.partition(":")
    task: Task = getattr(importlib.import_module(module), instance)
    return task
