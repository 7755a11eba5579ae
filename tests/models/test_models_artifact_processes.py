"""Several processes want the same artifact: one builds it, whatever becomes of that one."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from base.files import locked
from models import artifact

ROOT = Path(__file__).resolve().parents[2]


class Builder:
    """An artifact_builder.py at `path`."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("artifact_builder.py")), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def says(self) -> str:
        """Its next line; empty when it has ended."""
        assert self.process.stdout is not None
        return str(self.process.stdout.readline()).rstrip("\n")

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        """From "building" to the end."""
        self.go_on()
        assert self.says() == "half"
        self.go_on()
        assert self.says() == "built"


@pytest.fixture
def builders(tmp_path: Path) -> Iterator[list[Builder]]:
    started = [Builder(tmp_path / "one") for _ in range(2)]
    yield started
    for builder in started:
        builder.process.kill()
        builder.process.communicate()


def in_order(builders: list[Builder]) -> tuple[Builder, Builder]:
    """The one that builds and the one that waits: whoever came first."""
    said = {builder: builder.says() for builder in builders}
    (building,) = [b for b, words in said.items() if words == "building"]
    (waiting,) = [b for b in builders if b is not building]
    assert said[waiting].endswith("another process builds it; waiting for that")
    return building, waiting


def test_one_builds_and_the_other_waits_and_finds_it(
    tmp_path: Path, builders: list[Builder]
) -> None:
    building, waiting = in_order(builders)
    building.finish()
    written = (tmp_path / "one").stat()
    assert waiting.says() == "found"
    found = (tmp_path / "one").stat()
    assert (found.st_ino, found.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert artifact.read(tmp_path / "one", "test").facts == {"builder": "process"}


@pytest.mark.parametrize("moment", ["building", "half"])
def test_a_killed_builder_is_relieved_and_leaves_no_half_file(
    tmp_path: Path, builders: list[Builder], moment: str
) -> None:
    building, waiting = in_order(builders)
    if moment == "half":
        building.go_on()
        assert building.says() == "half"
        assert list(tmp_path.glob(".one.aside-*"))
    building.process.kill()
    assert waiting.says() == "building"
    assert not list(tmp_path.glob(".one.aside-*"))
    waiting.finish()
    assert {path.name for path in tmp_path.iterdir()} == {"one", ".one.lock", ".one.verified"}
    assert artifact.read(tmp_path / "one", "test").facts == {"builder": "process"}


def test_only_orphans_of_the_same_file_are_removed(tmp_path: Path) -> None:
    kept = [".two.aside-x", ".one.two.aside-x", ".one.lock", "one.aside-x", ".[o]ne.aside-x"]
    for name in (".one.aside-x", *kept):
        (tmp_path / name).touch()
    folder = tmp_path / ".one.aside-folder"
    folder.mkdir()
    (folder / "part").touch()
    with locked(tmp_path / "one"):
        assert {path.name for path in tmp_path.iterdir()} == set(kept)
    with locked(tmp_path / "[o]ne"):
        assert not (tmp_path / ".[o]ne.aside-x").exists()


@contextlib.contextmanager
def permissions_bind() -> Iterator[None]:
    """Root reads and writes whatever it likes: be nobody meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody reaches, with an artifact "one"."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o777)
        build(folder / "one")
        yield folder
        folder.chmod(0o777)


def build(path: Path) -> None:
    artifact.write(path, "test", {}, {"a": np.arange(9)})


def test_one_that_cannot_be_read_is_built_anew(folder: Path) -> None:
    path = folder / "one"
    path.chmod(0)
    notices: list[str] = []
    with permissions_bind():
        assert artifact.ensure(path, "test", lambda: build(path), notices.append)
        assert not artifact.ensure(path, "test", lambda: build(path), notices.append)
    assert notices == [f"{path}: cannot be opened (Permission denied): building it anew"]


def test_a_whole_one_in_a_read_only_cache_is_found(folder: Path) -> None:
    path = folder / "one"
    path.chmod(0o444)
    folder.chmod(0o555)
    with permissions_bind():
        assert not artifact.ensure(path, "test", lambda: build(path), print)
        with pytest.raises(PermissionError) as caught:
            artifact.ensure(folder / "two", "test", lambda: build(folder / "two"), print)
    assert caught.value.filename == str(folder / ".two.lock")
