"""What was read of a file is kept as long as the file is left alone, and no longer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from base import unchanged
from base.unchanged import OncePerFile, facts_of, settled, sha256_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as left alone at once."""
    monkeypatch.setattr(unchanged, "SETTLED_NS", 0)


class Reader:
    """Reads a file, and counts how often."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, file: Path) -> bytes:
        self.reads += 1
        return file.read_bytes()


def until_its_times_change(file: Path, change: Callable[[], None]) -> None:
    """The clock of a file system may be slow."""
    before = facts_of(file)
    while facts_of(file) == before:
        change()


@pytest.mark.usefixtures("settles")
def test_a_file_that_is_left_alone_is_read_once(file: Path) -> None:
    reader = Reader()
    read = OncePerFile(reader)
    assert [read(file), read(file)] == [b"one", b"one"]
    assert reader.reads == 1
    read.forget()
    assert read(file) == b"one"
    assert reader.reads == 2


@pytest.mark.usefixtures("settles")
@pytest.mark.parametrize("keeps_times", [False, True])
def test_a_change_of_the_same_size_is_seen(file: Path, keeps_times: bool) -> None:
    read = OncePerFile(Reader())
    assert read(file) == b"one"
    times = file.stat()

    def change() -> None:
        file.write_bytes(b"two")
        if keeps_times:
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    until_its_times_change(file, change)
    assert read(file) == b"two"


@pytest.mark.usefixtures("settles")
def test_the_last_file_alone_is_kept(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    reader = Reader()
    read = OncePerFile(reader)
    assert [read(file), read(other), read(file)] == [b"one", b"other", b"one"]
    assert reader.reads == 3


@pytest.mark.usefixtures("settles")
def test_what_changes_while_it_is_read_is_not_kept(file: Path) -> None:
    def change() -> None:
        file.write_bytes(b"two")

    def reading(path: Path) -> bytes:
        found = path.read_bytes()
        if found == b"one":
            until_its_times_change(path, change)
        return found

    read = OncePerFile(reading)
    assert read(file) == b"one"
    # As it was when the reading began.
    assert read(file) == b"two"


def test_a_file_written_just_now_is_read_again(file: Path) -> None:
    reader = Reader()
    read = OncePerFile(reader)
    assert [read(file), read(file)] == [b"one", b"one"]
    assert reader.reads == 2


def test_files_settle_by_both_times() -> None:
    now = 10 * unchanged.SETTLED_NS
    long_ago, just_now, soon = 0, now - unchanged.SETTLED_NS // 2, now + unchanged.SETTLED_NS // 2
    assert settled((3, long_ago, long_ago, 1), now)
    assert not settled((3, just_now, long_ago, 1), now)
    assert not settled((3, long_ago, just_now, 1), now)
    assert not settled((3, soon, long_ago, 1), now), "the clock of a file server may be ahead"


@pytest.mark.usefixtures("settles")
def test_errors_are_not_kept(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a directory, no file"):
        sha256_of(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="a FIFO, no file"):
        sha256_of(tmp_path / "fifo")
    absent = tmp_path / "absent"
    with pytest.raises(OSError, match="No such file"):
        sha256_of(absent)
    file.rename(absent)
    one = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert sha256_of(absent) == one
