"""Files take their places whole, on the disk before they have a name, or not at all."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest

from base.files import folder_written_aside, put_in_place, write_text, written_aside

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("base", "launch", "loadrun", "models", "netrun", "shm")
ELSEWHERE = {
    "launch/build/download.py": "what has arrived is kept before all is there",
    "launch/outcome/results.py": "directories",
    "models/criteo/raw.py": "rows that an interrupted conversion goes on with",
    "models/resumed.py": "an artifact that an interrupted call goes on with",
    "launch/submission/tree.py": "what was written aside as a whole tree",
}
"""Files that rename or fsync by themselves, and what."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls to the system, in their order."""
    found: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        found.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').read_text()}")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        found.append(f"rename {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return found


def test_contents_are_on_the_disk_before_the_name_is(tmp_path: Path, calls: list[str]) -> None:
    path = tmp_path / "file"
    write_text(path, "first")
    write_text(path, "second \u00e9")
    assert path.read_bytes() == "second \u00e9".encode()
    (tmp_path / "part").write_text("third")
    put_in_place(tmp_path / "part", path)
    assert path.read_text() == "third"
    texts = ("first", "second \u00e9", "third")
    assert calls == [step for text in texts for step in (f"fsync {text}", "rename file")]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), written_aside(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), written_aside(path) as aside:
        aside.unlink()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("place", ["absent/file", "a file/file"])
def test_an_error_names_the_file_that_was_meant(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / place, "text")
    assert caught.value.filename == str(tmp_path / place)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "text")
        with folder_written_aside(tmp_path / "folder") as aside:
            (aside / "file").touch()
    finally:
        os.umask(before)
    for name, mode in (("file", 0o666), ("folder", 0o777), ("folder/file", 0o666)):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode & ~mask


def test_two_that_write_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with written_aside(path) as first, written_aside(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def _renames_or_syncs(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    # Text is replaced by two arguments, a path by one.
    path = node.func.attr == "replace" and len(node.args) == 1 and not node.keywords
    return path or node.func.attr in ("rename", "renames", "fsync")


def test_files_take_their_places_in_one_module_only() -> None:
    found = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if any(map(_renames_or_syncs, ast.walk(ast.parse(file.read_text(encoding="utf-8")))))
    }
    assert found == {"base/files.py", *ELSEWHERE}
