"""Options that tasks declare in their folders, beyond weights, data and calibration.

A task that needs one has a module `options` in its folder, which imports nothing heavy, with

    OPTIONS = (Option("--annotations FILE", "COCO's JSON of the images", path="file"),)

and its folder stands in FOLDERS. Every command that takes data then has the option, and the task
finds its value by name (`annotations`) in the options of its `Sources`. It is a task's own where a
class of the task, or of the one that it is like, is of that folder; given for another task it is
refused.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from base.options import Option

if TYPE_CHECKING:
    from models.task import Task

FOLDERS: tuple[str, ...] = (
    "imagenet",
    "detection",
    "squad",
    "criteo",
    "librispeech",
    "volumes",
)
"""Folders of models/ whose `options` declares some."""


def declared() -> tuple[Option, ...]:
    """What tasks declare, each option once: several tasks may share one."""
    found: dict[str, Option] = {}
    for option in (option for folder in FOLDERS for option in _of_folder(folder)):
        if found.setdefault(option.flag, option) != option:
            raise ValueError(f"two tasks declare {option.flag}, and not the same")
    return tuple(found.values())


def of_task(task: Task) -> frozenset[str]:
    """The names of the options that a task has of those that are declared."""
    kinds = type(task).__mro__ if task.like is None else type(task.like).__mro__
    classes = [kind.__module__.split(".") for kind in kinds]
    own = {parts[1] for parts in classes if parts[0] == "models" and len(parts) > 1}
    return frozenset(
        option.name for folder in FOLDERS if folder in own for option in _of_folder(folder)
    )


def _of_folder(folder: str) -> tuple[Option, ...]:
    options: tuple[Option, ...] = importlib.import_module(f"models.{folder}.options").OPTIONS
    return options
