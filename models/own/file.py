"""A task in a Python file of the user."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from base.errors import InputError
from base.text import slug
from models.own.imports import module_name, shown
from models.own.names import OwnName
from models.task import Benchmark, Part, Task

DOCUMENTED = "docs/models.md has an example"


def load(name: OwnName, taken: Collection[str]) -> Task:
    """The task of a name with an absolute path. Raises InputError, one line that says the cure.

    `taken` are names that it must not have.
    """
    if not name.file.is_file():
        raise InputError(f"{name.file}: no such file")
    module = _imported(name.file)
    tasks = [key for key, value in vars(module).items() if isinstance(value, Task)]
    has = f"it has: {', '.join(tasks)}" if tasks else f"it has no task; {DOCUMENTED}"
    if not name.meant:
        raise InputError(f"{name.file}: which task? give {name.file.name}:NAME ({has})")
    task = vars(module).get(name.meant)
    if task is None:
        raise InputError(f"{name.file} has no {name.meant} ({has})")
    if isinstance(task, type) and issubclass(task, Task):
        raise InputError(
            f"{name} is a class: give the name of an instance (NET = {task.__name__}())"
        )
    if not isinstance(task, Task):
        raise InputError(f"{name} is of type {type(task).__name__}, not a Task ({has})")
    if wrong := faults(task):
        raise InputError(f"{name}: {'; '.join(wrong)}")
    if slug(task.name) in taken:
        raise InputError(
            f"{name}: its name {task.name} is that of one of our tasks: choose another"
        )
    return task


def faults(task: Task) -> list[str]:
    """What a task lacks, and what is of the wrong type."""
    missing = [name for name in NEEDED if not hasattr(task, name)]
    found = [f"lacks {', '.join(missing)}"] if missing else []
    for name, (described, fits) in NEEDED.items():
        if name not in missing and not fits(getattr(task, name)):
            found.append(f"its {name} is {getattr(task, name)!r:.60}, not {described}")
    return found


def _several(kind: type) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, (tuple, list))
        and len(value) > 0
        and all(isinstance(each, kind) for each in value)
    )


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


NEEDED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a text", _text),
    "title": ("a text", _text),
    "benchmarks": ("a tuple of Benchmark", _several(Benchmark)),
    "parts": ("a tuple of Part", _several(Part)),
    "answer_bytes": ("a whole number of bytes", lambda value: isinstance(value, int) and value > 0),
}
"""What has no default in Task and is no method."""


def why(error: BaseException, folder: Path) -> str:
    """The last line of an error of a user's code, and where in the folder it arose."""
    last = traceback.format_exception_only(error)[-1].strip() or type(error).__name__
    where = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    if isinstance(error, SyntaxError) and error.lineno:
        where.append(f"{Path(error.filename or '').name}:{error.lineno}")
    return f"{shown(last)}{f' ({where[-1]})' if where else ''}"


def _imported(file: Path) -> ModuleType:
    if "." in file.stem:
        raise InputError(f"{file}: a module's name has no dots: rename the file")
    try:
        return importlib.import_module(module_name(file))
    except (Exception, SystemExit) as error:
        raise InputError(f"{file} does not import: {why(error, file.parent)}") from None
