"""Where weights and data come from: options, else the environment, else nothing.

The environment's variables are those of the options, else MLPERF_SCRATCH_PATH.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
import models.options
from base.errors import InputError
from base.options import WRITTEN, Option
from launch.build.cache import expanded
from launch.build.places import in_scratch
from launch.options.declare import Options, option, others
from launch.supervise.environment import PACKAGE_ROOT

if TYPE_CHECKING:
    from models.task import Task

DATA = "model and data"


def _of_tasks() -> Iterable[Option]:
    return (replace(known, group=known.group or DATA) for known in models.options.declared())


@dataclass(frozen=True)
class Sources(Options):
    """Where weights and data come from; None is the embedded synthetic default.

    `images` is `data` where it is a folder of pictures: one of them is given at most, and `served`
    is that one. `calibration` are the samples that int8 ranges are taken from: a folder, or a file
    that names some of the data. `task` holds what the options that tasks declare were given.
    """

    weights: Path | None = option(
        "--weights FILE", "fp32 weights", DATA, path="file", variable="LOADRUN_WEIGHTS"
    )
    data: Path | None = option(
        "--data PATH", "data to serve", DATA, path="directory or file", variable="LOADRUN_DATA"
    )
    images: Path | None = option(
        "--images DIR",
        "--data, where it is a folder of images",
        DATA,
        path="directory",
        variable="LOADRUN_IMAGES",
    )
    calibration: Path | None = option(
        "--calibration PATH",
        "samples that int8 ranges are taken from: a folder, or a file that names some of --images,"
        " one a line",
        DATA,
        path="directory or file",
        variable="LOADRUN_CALIBRATION",
    )
    task: Mapping[str, Any] = others(_of_tasks)

    @property
    def served(self) -> Path | None:
        """The data to serve."""
        return self.data or self.images


def data_option(task: Task) -> str:
    """The option that names a task's data, as a cure writes it."""
    return Sources.options()["images" if task.items == "images" else "data"].usage


def find_sources(
    task: Task, given: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Sources:
    """What was given by name of the option, else what the environment's variables say.

    InputError for a path that is not there, naming the option or variable, for an option of another
    task, and for a part of data that are not given.
    """
    variables = os.environ if environment is None else environment
    known = Sources.options()
    own = {"weights", "data", "images", "calibration", *models.options.of_task(task)}
    for name, value in given.items():
        if name not in own and value not in (None, False, known[name].default):
            words = " ".join(known[name].words(value)).replace("=", " ", 1)
            raise InputError(f"{words}: {_of_others(name, task)}")
    by_option = [name for name in ("data", "images") if given.get(name)]
    if len(by_option) == 2:
        raise InputError(f"--data {given['data']} and --images exclude each other: leave one out")
    if by_option:
        # An option replaces all: parts of the environment's data belong to those.
        parts = {option.variable for option in known.values() if option.of_data}
        variables = {k: v for k, v in variables.items() if k not in parts}

    # So does what stands in the folder for all runs.
    scratch = in_scratch(task, variables) if not task.network_file else {}
    data_given = by_option or any(variables.get(known[n].variable) for n in ("data", "images"))
    if data_given:
        scratch = {name: path for name, path in scratch.items() if name == "weights"}

    def find(name: str) -> Any:
        option, value = known[name], given.get(name, known[name].default)
        if name not in own or not option.path:
            return value
        found = find_path(option.flag, value, option.variable, variables, option.path)
        return found or scratch.get(name)

    data = find("data") if "images" not in by_option else None
    sources = Sources(
        weights=find("weights"),
        data=data,
        images=find("images") if data is None else None,
        calibration=find("calibration"),
        task={
            option.name: find(option.name) if option.name in own else None
            for option in models.options.declared()
        },
    )
    if sources.served is not None:
        return sources
    needed = data_option(task)
    for name, value in sources.task.items():
        if known[name].of_data and value:
            raise InputError(f"{known[name].flag} {value}: {known[name].of_data} need {needed}")
    if sources.calibration and sources.calibration.is_file() and task.items == "images":
        raise InputError(
            f"--calibration {sources.calibration}: a list of {task.items} needs {needed}"
        )
    return sources


def sources_of(arguments: argparse.Namespace, task: Task) -> Sources:
    """The sources that a command line names, else the environment; InputError as `find_sources`."""
    return find_sources(task, {name: getattr(arguments, name) for name in Sources.options()})


def _of_others(name: str, task: Task) -> str:
    """Whose option it is."""
    having = [
        other for other in models.names() if name in models.options.of_task(models.get(other))
    ]
    return f"an option of {' and '.join(having)}, not of {task.name}"


def find_path(
    option: str, given: str | None, variable: str, variables: Mapping[str, str], wanted: str
) -> Path | None:
    """What `option` gives, else the environment's `variable`, where that exists.

    `wanted` is "file", "directory", "directory or file", or WRITTEN, which need not be there.

    None where neither is set; raises InputError for a path that is not there.
    """
    name, value = (option, given) if given else (variable, variables.get(variable))
    if not value:
        return None
    path = expanded(value, name)
    if wanted == WRITTEN:
        return path
    if not (("directory" in wanted and path.is_dir()) or ("file" in wanted and path.is_file())):
        raise InputError(f"{name} {value}: no such {wanted}")
    return path


def find_user_conf(given: str | None) -> Path | None:
    """--user-conf, else user.conf in the current directory, else the one beside the packages."""
    if given:
        path = expanded(given, "--user-conf")
        if not path.is_file():
            raise InputError(f"--user-conf {given}: no such file")
        return path
    for directory in (Path.cwd(), PACKAGE_ROOT):
        if (directory / "user.conf").is_file():
            return directory / "user.conf"
    return None
