"""Disks that are full, out of inodes or not to be written to: one line, before LoadGen starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_process import Cli
from private_shm import in_private_shm

from base.errors import InputError
from launch.outcome.room import LOGS_BYTES, need_space, results_bytes


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def refused(cli: Cli, place: str, options: str) -> str:
    """What a run says, in one line, whose `place` is a file system mounted with `options`."""
    (cli.directory / place).mkdir(exist_ok=True)
    error = cli.refused(in_private_shm(options, str(cli.directory / place)), 60)
    assert not list(cli.directory.glob("results/*"))
    return error


@pytest.mark.parametrize(
    ("place", "options", "expected"),
    [
        ("results", "size=1m", ["needs 8.0 MiB", "1.0 MiB free", "--results"]),
        ("results", "size=100m,nr_inodes=10", ["needs 64 files", "9 inodes free", "--results"]),
        ("results", "size=100m,ro", ["Read-only file system", "--results"]),
        ("cache", "size=1m", ["needs 3.6 MiB", "1.0 MiB free", "LOADRUN_CACHE"]),
        ("cache", "size=100m,nr_inodes=2", ["No space left", "0 inodes are free", "LOADRUN_CACHE"]),
        ("cache", "size=100m,ro", ["Read-only file system", "LOADRUN_CACHE"]),
    ],
)
def test_a_disk_that_has_no_room(cli: Cli, place: str, options: str, expected: list[str]) -> None:
    line = refused(cli, place, options)
    assert str(cli.directory / place) in line
    for words in expected:
        assert words in line


def test_accuracy_needs_room_for_every_answer(tmp_path: Path) -> None:
    assert results_bytes(50_000, 4) > LOGS_BYTES + 3 * 50_000 * 80
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    need_space(tmp_path / "not" / "yet", free // 2, "results", "cure")
    with pytest.raises(InputError, match=r"MiB free \(cure\)"):
        need_space(tmp_path / "not" / "yet", 2 * free, "results", "cure")
