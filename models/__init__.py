"""Tasks: networks, weights, data sets, pre- and postprocessing, scores.

Importing this package costs nothing: a task's module (numpy) is imported when `get` is asked for
it, torch when its network is built.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from base.text import slug
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
    "is_own",
    "label",
    "names",
    "title",
]

TASKS = {
    "resnet50": "models.resnet50:RESNET50",
    "mobilenet": "models.mobilenet:MOBILENET",
    "bert": "models.squad.task:SQUAD",
    "retinanet": "models.detection.retinanet:RETINANET",
    "ssd-resnet34": "models.detection.ssd_resnet34:SSD_RESNET34",
    "ssd-mobilenet": "models.detection.ssd_mobilenet:SSD_MOBILENET",
    "rnnt": "models.librispeech.task:RNNT_TASK",
    "dlrm": "models.criteo.task:DLRM",
    "dlrm-v2": "models.criteo.task:DLRM_V2",
    "3d-unet": "models.volumes.task:UNET_KITS19",
    "3d-unet-brats": "models.volumes.task:UNET_BRATS",
}
"""The tasks by name: the module that holds each, and what it is called there."""

VARIANTS = {
    "resnet50-tf": "models.resnet50:RESNET50_TF",
    "ssd-mobilenet-v2": "models.detection.ssd_mobilenet:SSD_MOBILENET_V2",
}
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

    Or a user's own: of `my_net.py:TASK`, or the network `net.onnx:resnet50`. Raises UnknownModel,
    whose message and `nearest` attribute name the nearest task; InputError for a user's file.
    """
    if is_own(name):
        return _own(name)
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


def canonical(
    name: str, task: str | None = None, like: str | None = None, config_ver: str | None = None
) -> str:
    """Return the one name of what a user chose, by which every process gets it.

    It names a benchmark, the first one of a task that was chosen as such, and the task itself where
    that has only one; a user's file by its absolute path, and what of it is meant. `task` and
    `like` say what an ONNX file is a network for; `config_ver`, one of CONFIG_VERS, chooses among a
    task's benchmarks. Raises what `get` raises, and InputError for a choice that is none.
    """
    from base.errors import InputError
    from models.own import names as own

    found = own.parse(name)
    if found is not None:
        absolute = str(own.canonical(found, task, like))
        _check_config_ver(get(absolute), name, config_ver)
        return absolute
    for option, value in (("--task", task), ("--like", like)):
        if value is not None:
            raise InputError(f"{option} {value}: is for a network of your own, FILE.onnx")
    found_task = get(name)
    _check_config_ver(found_task, name, config_ver)
    chosen = found_task.configured(config_ver) if config_ver else None
    return found_task.called(chosen.name if chosen else name)


def _check_config_ver(task: Task, name: str, config_ver: str | None) -> None:
    """Raise InputError for a `config_ver` that the task has not, or not by that name."""
    from base.errors import InputError
    from models.task import spelled

    if config_ver is None:
        return
    names = [benchmark.name for benchmark in task.benchmarks]
    chosen = task.configured(config_ver)
    if chosen is None or (is_own(name) and chosen.name != names[0]):
        raise InputError(
            f"--config-ver {config_ver}: {task.name} has none (its benchmarks: {', '.join(names)})"
        )
    if spelled(name) in names and len(names) > 1 and spelled(name) != chosen.name:
        raise InputError(
            f"--config-ver {config_ver}: is {chosen.name}, not {spelled(name)}; leave one out"
        )


def is_own(name: str) -> bool:
    """Return whether a name is of a user's file, without opening it."""
    from models.own.names import parse

    return parse(name) is not None


def label(name: str) -> str:
    """Return what folders and files are called by a canonical name."""
    return slug(get(name).name) if is_own(name) else name


def benchmark(name: str) -> Benchmark:
    """Return the benchmark that a name means, of a user's task the first; raises as `get`."""
    return get(name).benchmark(name)


def title(name: str) -> str:
    """Return what people call what a name means. Raises what `get` raises."""
    return get(name).titled(name)


def _own(name: str) -> Task:
    from models.own import names

    found = names.parse(name)
    assert found is not None
    found = names.canonical(found)
    taken = (*choices(), *VARIANTS)
    # By its name, as they import modules that import this one.
    own = importlib.import_module(f"models.own.{'onnx' if found.onnx else 'file'}")
    task: Task = own.load(found, *([get(found.meant)] if found.onnx else []), taken)
    return task


def _load(place: str) -> Task:
    module, _, instance = place.partition(":")
    task: Task = getattr(importlib.import_module(module), instance)
    return task
