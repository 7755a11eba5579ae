"""Imports go one way: between the packages as the documentation says, and never in a circle."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from import_graph import Graph, reached, read_graph

ROOT = Path(__file__).resolve().parents[2]
ARROWS = {
    "base": set(),
    "shm": {"base"},
    "models": {"base"},
    "loadrun": {"models", "shm", "base"},
    "netrun": {"models", "shm", "base"},
    "launch": {"loadrun", "netrun", "models", "shm", "base"},
    "bench": {"launch", "loadrun", "netrun", "models", "shm", "base"},
}
"""Of each package those that it may import."""
NEVER = [
    ("loadrun", "torch"),
    ("netrun", "mlperf_loadgen"),
    ("shm", "torch"),
    ("shm", "mlperf_loadgen"),
    ("models", "mlperf_loadgen"),
]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_graph(ROOT, ARROWS)


def circle(graph: Graph) -> list[str]:
    """The modules of a circle, the first one at the end again; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # The sorter lists each before the one that imports it.
        return list(reversed(error.args[1]))
    return []


def package_of(module: str) -> str:
    return module.partition(".")[0]


def packages_behind(graph: Graph, module: str) -> set[str]:
    return {package_of(other) for other in reached(graph, module)}


def test_every_package_has_its_place() -> None:
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} == ARROWS.keys()


def test_a_folder_of_modules_is_a_package() -> None:
    """Else an installation leaves it out, though everything runs in the repository."""
    folders = {file.parent for name in ARROWS for file in (ROOT / name).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_imports_go_in_a_circle(graph: Graph) -> None:
    assert len(graph) > 200
    assert circle(graph) == []


def test_imports_follow_the_arrows(graph: Graph) -> None:
    wrong = [
        f"{module} imports {other}"
        for module, imported in graph.items()
        for other in imported
        if package_of(other) in ARROWS.keys() - ARROWS[package_of(module)] - {package_of(module)}
    ]
    assert wrong == []


def test_base_stands_on_python_alone(graph: Graph) -> None:
    others = {
        other
        for module, imported in graph.items()
        if package_of(module) == "base"
        for other in imported
        if package_of(other) != "base"
    }
    assert {package_of(other) for other in others} <= sys.stdlib_module_names


@pytest.mark.parametrize(("package", "forbidden"), NEVER)
def test_what_a_package_never_imports(graph: Graph, package: str, forbidden: str) -> None:
    modules = [module for module in graph if package_of(module) == package]
    assert [module for module in modules if forbidden in packages_behind(graph, module)] == []


def test_what_modules_import_through_others_is_found(graph: Graph) -> None:
    assert "torch" in packages_behind(graph, "netrun.worker")
    assert "mlperf_loadgen" in packages_behind(graph, "loadrun.process")


@pytest.mark.parametrize(
    "text",
    [
        "import one.b",
        "from one import b",
        "from . import b",
        "from .b import something",
        "def f():\n    from one.b import something",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import one.b",
    ],
)
def test_a_circle_is_found_wherever_an_import_stands(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    for name, content in (("__init__", ""), ("a", text), ("b", "import one.c"), ("c", "")):
        (folder / f"{name}.py").write_text(content)
    assert circle(read_graph(tmp_path, ["one"])) == []
    (folder / "c.py").write_text("import os, one.a")
    found = circle(read_graph(tmp_path, ["one"]))
    assert sorted(found[1:]) == ["one.a", "one.b", "one.c"]
    assert found[0] == found[-1]
    assert reached(read_graph(tmp_path, ["one"]), "one.b") == {"os", "one.a", "one.b", "one.c"} | (
        {"typing"} if "typing" in text else set()
    )
