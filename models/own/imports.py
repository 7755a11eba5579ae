"""Imports of a user's folder that get in nobody's way.

A module `net` of the folder /home/me/nets is `models.own.at_2f686f6d652f6d652f6e657473.net`. The
name says where it is, so that every process can import it, one that unpickles an object of it
included, without anything that was set up before. `sys.path` stays as it is.

In such a module, `import x` looks beside the user's file first, as in a program: a package `models`
of the user is found there, and ours is not in its way, nor it in ours. `loadrun` is always ours.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PREFIX = "models.own.at_"
OURS = "loadrun"
"""What a user's file imports from us by, whatever is beside it."""
ROOT = Path(__file__).resolve().parents[2]


def module_name(file: Path) -> str:
    """The name of a file's module; `file` is absolute."""
    return f"{PREFIX}{os.fsencode(file.parent).hex()}.{file.stem}"


def is_own(module: str) -> bool:
    """Whether a module is of a user's folder."""
    return module.startswith(PREFIX)


def shown(text: str) -> str:
    """A text with names of modules as the user writes them."""
    for name in sorted(sys.modules, reverse=True):
        if is_own(name) and "." not in name.removeprefix(PREFIX):
            text = text.replace(f"{name}.", "")
    return text


def beside(folder: Path, name: str) -> bool:
    """Whether a module or package `name` of the folder is what a file in it means by that.

    As in a program, but for one thing: a folder without `__init__.py` counts before a package that
    is installed where it holds modules, because ours are called `models` and `base`.
    """
    return name != OURS and folder.resolve() != ROOT and _found(os.fspath(folder), name)


@cache
def _found(folder: str, name: str) -> bool:
    if name in sys.builtin_module_names or name == "__future__":
        return False
    spec = PathFinder.find_spec(name, [folder])
    if spec is None or spec.loader is not None:
        return spec is not None
    modules = any((Path(folder) / name).glob("*.py"))
    return modules or (name not in sys.modules and importlib.util.find_spec(name) is None)


def install() -> None:
    """Have such modules found in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not is_own(fullname):
            return None
        encoded, _, module = fullname.removeprefix(PREFIX).partition(".")
        if not module:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [os.fsdecode(bytes.fromhex(encoded))]
            return spec
        found = PathFinder.find_spec(fullname, path)
        if found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = _Loader(fullname, found.loader.path)
        return found


class _Loader(SourceFileLoader):
    """Reads the source each time: bytecode tells a changed file by its second, and litters."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        encoded = module.__name__.removeprefix(PREFIX).partition(".")[0]
        own = partial(_import, PREFIX + encoded, Path(os.fsdecode(bytes.fromhex(encoded))))
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": own}
        super().exec_module(module)


def _import(
    package: str,
    folder: Path,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """What an import statement in a module of the folder calls, as builtins.__import__."""
    top = name.partition(".")[0]
    if level or not beside(folder, top):
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    if fromlist:
        return builtins.__import__(f"{package}.{name}", globals, locals, fromlist, 0)
    importlib.import_module(f"{package}.{name}")
    return sys.modules[f"{package}.{top}"]
