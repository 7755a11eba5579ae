"""The files that a user's module consists of: itself, and what it imports of its folder."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from models.own.imports import PREFIX, beside, is_own


def source_hash(kind: type) -> str | None:
    """SHA-256 of the files that a class of a user's module is made by; None for other classes.

    What is imported within functions counts, too.
    """
    if not is_own(kind.__module__):
        return None
    # The folder that names are looked up in is the program's, wherever below it this module is.
    depth = kind.__module__.removeprefix(PREFIX).count(".")
    file = Path(inspect.getfile(kind))
    levels = depth if file.name == "__init__.py" else depth - 1
    folder = file.parents[levels]
    digest = hashlib.sha256()
    for each in sorted(_files(folder, file)):
        digest.update(f"{each.relative_to(folder)}\0".encode("utf-8", "surrogateescape"))
        digest.update(each.read_bytes())
    return digest.hexdigest()


def _files(folder: Path, file: Path) -> set[Path]:
    found, waiting = {file}, [file]
    while waiting:
        new = {each for each in _imported(folder, waiting.pop()) if each.is_file()} - found
        found |= new
        waiting += new
    return found


def _imported(folder: Path, file: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(folder, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = folder if node.level == 0 else file.parents[node.level - 1]
            for alias in node.names:
                name = ".".join(filter(None, (node.module, alias.name)))
                yield from _modules(base, name, relative=node.level > 0)


def _modules(base: Path, name: str, relative: bool = False) -> Iterator[Path]:
    """Files that importing `name` may run: of the module, and of the packages around it."""
    parts = name.split(".")
    if not relative and not beside(base, parts[0]):
        return
    for count in range(1, len(parts) + 1):
        place = base.joinpath(*parts[:count])
        yield place / "__init__.py"
        yield place.with_name(f"{place.name}.py")
