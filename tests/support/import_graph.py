"""Who imports whom, read from the sources: nothing is imported for it.

An import counts wherever it stands: in a function, or for type checkers alone. What runs a module
by its name (`importlib`, ``python -m``) is no import, and neither is a package's ``__init__``
because one of its modules is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

Graph = Mapping[str, frozenset[str]]
"""Of each module, by its full name, the modules it imports; those of others by theirs."""


def read_graph(root: Path, packages: Iterable[str]) -> Graph:
    """The graph of all modules of `packages`, which are folders of `root`."""
    files = {_name(root, file): file for name in packages for file in (root / name).rglob("*.py")}
    return {module: _imports(module, file, files.keys()) for module, file in files.items()}


def reached(graph: Graph, start: str) -> set[str]:
    """Everything that a module imports, and what that imports, and so on; not itself."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = graph.get(ahead.pop(), frozenset()) - found
        found |= new
        ahead += new
    return found


def _name(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(module: str, file: Path, modules: Iterable[str]) -> frozenset[str]:
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            # What a package's folder does not hold, its __init__ does.
            found |= {name if name in modules else source for name in names}
    return frozenset(found)
