"""What the code may not do anywhere, and who may read and write what a run leaves."""

from __future__ import annotations

import ast
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.supervise.environment import PACKAGE_ROOT, base_environment

PACKAGES = ("base", "launch", "loadrun", "models", "netrun", "shm")
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput"}


RESTRICTED = ("models/weights/script.py", "models/volumes/pickles.py")
"""The readers of pickles of our own, TorchScript's and MLPerf's prepared volumes': stand-ins take
the place of all names."""


def restricted(path: Path, tree: ast.Module) -> bool:
    """Whether a file only reads pickles by an unpickler that decides on every name itself."""
    used = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    decides = {
        item.name
        for node in classes
        if [ast.unparse(base) for base in node.bases] == ["pickle.Unpickler"]
        for item in node.body
        if isinstance(item, ast.FunctionDef)
    }
    ours = {name for name in used if name.startswith("pickle.")} == {"pickle.Unpickler"}
    asks_base = "super().find_class" in used
    known = path in {PACKAGE_ROOT / name for name in RESTRICTED}
    return known and ours and not asks_base and "find_class" in decides


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((PACKAGE_ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def test_nothing_is_unpickled_and_no_shell_is_asked() -> None:
    wrong = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                if names & FORBIDDEN_MODULES and not restricted(path, tree):
                    wrong.append(f"{path}:{node.lineno}: {names & FORBIDDEN_MODULES}")
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called in FORBIDDEN_CALLS:
                wrong.append(f"{path}:{node.lineno}: {called}")
            if options.get("shell", "False") != "False":
                wrong.append(f"{path}:{node.lineno}: shell")
            if called == "torch.load" and options.get("weights_only") != "True":
                wrong.append(f"{path}:{node.lineno}: torch.load without weights_only=True")
            if options.get("allow_pickle", "False") != "False":
                wrong.append(f"{path}:{node.lineno}: allow_pickle")
    assert wrong == []


def test_every_text_names_its_encoding() -> None:
    """The locale's would make one file two texts on two machines."""
    wrong = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            name = ast.unparse(node.func).rpartition(".")[2]
            words = [ast.unparse(word) for word in node.args]
            method = isinstance(node.func, ast.Attribute)
            texts = (method and name in ("read_text", "write_text")) or (
                # Of a path's or the built-in open: its mode says whether it reads bytes.
                name in ("open", "fdopen")
                and any(word.strip("'") in ("r", "w", "a", "x", "r+", "w+") for word in words)
            )
            decoded = options.get("text") == "True" or "universal_newlines" in options
            if (texts or decoded) and "encoding" not in options:
                wrong.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


def test_scripts_evaluate_nothing_and_quote_what_users_give() -> None:
    scripts = sorted((PACKAGE_ROOT / "launch").glob("*.sh"))
    assert len(scripts) >= 3
    for script in scripts:
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
        # Texts that are only shown, and comments, are no code.
        text = re.sub(r"<<'TEXT'\n.*?\nTEXT\n", "\n", script.read_text(), flags=re.DOTALL)
        for number, line in enumerate(text.splitlines(), 1):
            code = re.split(r"(?:^|\s)#", line)[0]
            assert not re.search(r"\beval\b|\bsh -c\b|`", code), f"{script}:{number}"
            # What came from the command line stands in double quotes, in [[ ]], in (( )) or behind
            # an assignment, where the shell does not split it.
            bare = re.sub(r'"[^"]*"|\b\w+=\$\S+|\[\[.*?\]\]|\(\(.*?\)\)|\'[^\']*\'', "", code)
            assert not re.search(r"\$[@*1-9]|\$\{[@*1-9]", bare), f"{script}:{number}: {line}"


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_nobody_else_may_write_results(tmp_path: Path, mask: int) -> None:
    """Nor may a group that the user's umask keeps out."""
    code = (
        "import os, sys; os.umask(int(sys.argv[1]))\n"
        "from launch.cli import main; main(['topology'])\n"
        "from pathlib import Path; from launch.outcome.results import Staging\n"
        "with Staging(Path('results'), 'aaaa1', 'Offline', 'resnet50') as staging:\n"
        "    staging.write_record({}); staging.publish('PerformanceOnly', None)\n"
    )
    environment = base_environment()
    words = [sys.executable, "-c", code, str(mask)]
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    paths = [p for p in (tmp_path / "results").rglob("*") if not p.is_symlink()]
    assert len(paths) > 4
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & (mask | 0o002) == 0, f"{path}: {mode:o}"
