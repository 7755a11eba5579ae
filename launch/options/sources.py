"""Where weights and data come from: options, else the environment, else nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models.options
from base.errors import InputError
from launch.build.cache import expanded
from launch.options.declare import Options, option, others
from launch.supervise.environment import PACKAGE_ROOT

DATA = "model and data"


@dataclass(frozen=True)
class Sources(Options):
    """Where weights and images come from; None is the embedded synthetic default.

    `calibration` are the images that int8 ranges are taken from: a folder, or a file that names
    some of `images`. `task` holds what the options that tasks declare were given.
    """

    weights: Path | None = option(
        "--weights FILE", "fp32 weights", DATA, path="file", variable="LOADRUN_WEIGHTS"
    )
    images: Path | None = option(
        "--images DIR", "images to serve", DATA, path="directory", variable="LOADRUN_IMAGES"
    )
    labels: Path | None = option(
        "--labels FILE",
        "'name label' lines for the images",
        DATA,
        path="file",
        variable="LOADRUN_LABELS",
    )
    calibration: Path | None = option(
        "--calibration PATH",
        "images that int8 ranges are taken from: a folder, or a file that names some of --images,"
        " one a line",
        DATA,
        path="directory or file",
        variable="LOADRUN_CALIBRATION",
    )
    task: Mapping[str, Any] = others(models.options.declared)


def find_sources(
    weights: str | None,
    images: str | None,
    labels: str | None,
    calibration: str | None,
    environment: Mapping[str, str] | None = None,
    **task: Any,
) -> Sources:
    """Options, else LOADRUN_WEIGHTS, LOADRUN_IMAGES, LOADRUN_LABELS, LOADRUN_CALIBRATION.

    `task` are the options of tasks by name. InputError for a path that is not there, naming the
    option or variable, and for labels without images.
    """
    variables = os.environ if environment is None else environment
    known = Sources.options()
    # An option replaces the whole pair: labels of the environment belong to its own images.
    if images and not labels:
        variables = {k: v for k, v in variables.items() if k != known["labels"].variable}

    def find(name: str, given: str | None) -> Path | None:
        option = known[name]
        return find_path(option.flag, given, option.variable, variables, option.path)

    sources = Sources(
        weights=find("weights", weights),
        images=find("images", images),
        labels=find("labels", labels),
        calibration=find("calibration", calibration),
        task={
            name: find(name, given) if known[name].path else given for name, given in task.items()
        },
    )
    if sources.labels and not sources.images:
        raise InputError(f"--labels {sources.labels}: labels need --images DIR")
    if sources.calibration and sources.calibration.is_file() and not sources.images:
        raise InputError(
            f"--calibration {sources.calibration}: a list of images needs --images DIR"
        )
    return sources


def sources_of(arguments: argparse.Namespace) -> Sources:
    """The sources that a command line names, else the environment; InputError as `find_sources`."""
    return find_sources(**{name: getattr(arguments, name) for name in Sources.options()})


def find_path(
    option: str, given: str | None, variable: str, variables: Mapping[str, str], wanted: str
) -> Path | None:
    """What `option` gives, else the environment's `variable`, where that exists.

    `wanted` is "file", "directory" or "directory or file".

    None where neither is set; raises InputError for a path that is not there.
    """
    name, value = (option, given) if given else (variable, variables.get(variable))
    if not value:
        return None
    path = expanded(value, name)
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
