"""Options that tasks declare in their folders, beyond weights, images, labels and calibration.

A task that needs one has a module `options` in its folder, which imports nothing heavy, with

    OPTIONS = (Option("--annotations FILE", "COCO's JSON of the images", path="file"),)

and its folder stands in FOLDERS. Every command that takes data then has the option, and the task
finds its value by name (`annotations`) in the options of its `Sources`.
"""

from __future__ import annotations

import importlib

from base.options import Option

FOLDERS: tuple[str, ...] = ("squad",)
"""Folders of models/ whose `options` declares some."""


def declared() -> tuple[Option, ...]:
    """What tasks declare, each option once: several tasks may share one."""
    modules = [importlib.import_module(f"models.{folder}.options") for folder in FOLDERS]
    found: dict[str, Option] = {}
    for option in (option for module in modules for option in module.OPTIONS):
        if found.setdefault(option.flag, option) != option:
            raise ValueError(f"two tasks declare {option.flag}, and not the same")
    return tuple(found.values())
