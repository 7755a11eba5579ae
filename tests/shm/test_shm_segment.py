from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from private_shm import in_private_shm
from shm_run import SHM, files_of, scratch_run

from shm.header import read_header, write_header
from shm.ring import RingGeometry
from shm.segment import Segment, SegmentMissing, ShmError, SpaceError, segment_name


@pytest.fixture
def run_id() -> Iterator[str]:
    with scratch_run() as run_id:
        yield run_id


def test_names_are_built_from_valid_parts_only() -> None:
    assert segment_name("20261122t0630a1b2", "wake13") == "/loadrun.20261122t0630a1b2.wake13"
    for run_id in ("", "abc", "x" * 33, "Upper", "with.dot", "a/../b", "abcd\n"):
        with pytest.raises(ValueError, match="run id"):
            segment_name(run_id, "rings")
    for part in ("", "Rings", "7", "a.b", "../x"):
        with pytest.raises(ValueError, match="part"):
            segment_name("abcd", part)


def test_both_ends_see_one_memory_and_the_creator_removes_it(run_id: str) -> None:
    name = segment_name(run_id, "rings")
    with Segment.create(name, 5000) as creator:
        assert creator.size == 5000
        assert bytes(creator.buf) == bytes(5000)
        with Segment.attach(name) as other:
            assert other.size == 5000
            other.buf[4999] = 7
        assert creator.buf[4999] == 7
        assert files_of(run_id) == [name[1:]]
    assert files_of(run_id) == []


def test_mode_is_0600_and_space_is_reserved(run_id: str) -> None:
    umask = os.umask(0)
    try:
        with Segment.create(segment_name(run_id, "rings"), 1 << 20) as segment:
            status = (SHM / segment.name[1:]).stat()
            assert status.st_mode & 0o777 == 0o600
            assert status.st_blocks * 512 >= 1 << 20
    finally:
        os.umask(umask)


def test_a_name_is_created_once(run_id: str) -> None:
    name = segment_name(run_id, "rings")
    with Segment.create(name, 64):
        with pytest.raises(ShmError, match="exists already"):
            Segment.create(name, 64)
        assert files_of(run_id) == [name[1:]]


def test_attach_before_creation_is_missing(run_id: str) -> None:
    with pytest.raises(SegmentMissing, match=run_id):
        Segment.attach(segment_name(run_id, "rings"))


def test_attach_read_only_refuses_writes(run_id: str) -> None:
    name = segment_name(run_id, "rings")
    with Segment.create(name, 64), Segment.attach(name, writable=False) as reader:
        assert reader.buf.readonly


def test_too_little_space_is_an_error_with_sizes_and_cure(run_id: str) -> None:
    file_system = os.statvfs(SHM)
    needed = (file_system.f_blocks + 1) * file_system.f_frsize
    with pytest.raises(SpaceError, match=r"--shm-size.*remount") as caught:
        Segment.create(segment_name(run_id, "arena"), needed)
    assert caught.value.needed == needed
    assert 0 < caught.value.available < needed
    assert str(needed) in str(caught.value)
    assert files_of(run_id) == []


def test_space_that_vanishes_during_reservation(
    run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SpaceError):
        Segment.create(segment_name(run_id, "arena"), 4096)
    assert files_of(run_id) == []


CREATE = """
import os, sys
from shm.ring import RingGeometry, Rings
from shm.segment import ShmError, Segment
os.setuid(int(sys.argv[2]))
try:
    Rings.create(sys.argv[1], RingGeometry(1, 3, 4, 4))
except ShmError as error:
    print(type(error).__name__, error)
print(os.listdir("/dev/shm"))
"""


@pytest.mark.parametrize(
    ("options", "user", "said"),
    [
        ("size=4k", 0, r"SpaceError \S+rings: needs .* \(\d+ bytes\).* has .* \(4096 bytes\) free"),
        # Room for the segment, and none for the semaphores.
        (f"size={RingGeometry(1, 3, 4, 4).size}", 0, r"SpaceError \S+done: needs .* \(0 bytes\)"),
        ("size=1m,nr_inodes=1", 0, r"InodesError \S+rings: .* has 0 inodes free.*nr_inodes="),
        ("size=1m,nr_inodes=2", 0, r"InodesError \S+done: .* has 0 inodes free.*nr_inodes="),
        ("size=1m,ro", 0, r"DirectoryError .*Read-only file system; .*'mount -o remount,rw"),
        ("size=1m,mode=755", 65534, r"DirectoryError .*Permission denied; .*mode=1777"),
    ],
    ids=["no room", "no room for semaphores", "no inodes", "few inodes", "read-only", "forbidden"],
)
def test_a_directory_that_takes_no_files(run_id: str, options: str, user: int, said: str) -> None:
    done = subprocess.run(
        [*in_private_shm(options), sys.executable, "-c", CREATE, run_id, str(user)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    error, left = done.stdout.splitlines()
    assert re.match(said, error)
    assert left == "[]"


def test_close_with_views_alive_keeps_them_valid(run_id: str) -> None:
    segment = Segment.create(segment_name(run_id, "rings"), 4096)
    view = segment.buf[16:32]
    array = np.frombuffer(segment.buf, np.uint8)
    segment.close()
    segment.close()
    segment.unlink()
    segment.unlink()
    view[0] = 9
    assert array[16] == 9


def test_only_the_creator_unlinks(run_id: str) -> None:
    name = segment_name(run_id, "rings")
    with Segment.create(name, 64):
        other = Segment.attach(name)
        other.close()
        other.unlink()
        assert files_of(run_id) == [name[1:]]


def test_header_names_the_mismatch(run_id: str) -> None:
    with Segment.create(segment_name(run_id, "rings"), 64) as segment:
        with pytest.raises(SegmentMissing, match="still being created"):
            read_header(segment, b"LRtest\0\0", 1, 2)
        write_header(segment, b"LRtest\0\0", 1, (5, 2**64 - 1))
        assert read_header(segment, b"LRtest\0\0", 1, 2) == [5, 2**64 - 1]
        with pytest.raises(ShmError, match="magic is b'LRtest"):
            read_header(segment, b"LRother\0", 1, 2)
        with pytest.raises(ShmError, match="version is 1, expected 2"):
            read_header(segment, b"LRtest\0\0", 2, 2)
        with pytest.raises(ShmError, match="64 bytes are too few"):
            read_header(segment, b"LRtest\0\0", 1, 7)
