from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shm_run import SHM, files_of, peer, scratch_run, until

from shm.control import ControlBlock
from shm.owner import Owner
from shm.reclaim import RunSegments, find_runs, reclaim
from shm.ring import RingGeometry, Rings
from shm.segment import Segment, segment_name

pytestmark = pytest.mark.alone
ALL_PARTS = ("control", "rings", "done", "wake0", "wake1")


@pytest.fixture
def run_id() -> Iterator[str]:
    with scratch_run() as run_id:
        yield run_id


def find(run_id: str) -> RunSegments:
    (run,) = [run for run in find_runs() if run.run_id == run_id]
    return run


def patch_word(run_id: str, offset: int, value: int) -> None:
    with (SHM / f"loadrun.{run_id}.control").open("r+b") as file:
        file.seek(offset)
        file.write(value.to_bytes(8, "little"))


def test_a_living_run_is_found_and_left_alone(run_id: str) -> None:
    with Rings.create(run_id, RingGeometry(2, 2, 4, 4)), ControlBlock.create(run_id, 2):
        files = files_of(run_id)
        assert len(files) == len(ALL_PARTS)
        run = find(run_id)
        assert run.alive
        assert run.owner_pid == os.getpid()
        assert run.uid == os.geteuid()
        assert run.files == files
        assert run.bytes == sum((SHM / name).stat().st_size for name in files)
        assert not set(reclaim()) & set(files)
        assert reclaim(run_id) == []
        assert files_of(run_id) == files


def test_what_a_killed_owner_left_is_removed_even_before_it_is_reaped(run_id: str) -> None:
    with peer("own", run_id) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "created\n"
        assert find(run_id).alive
        files = files_of(run_id)
        os.kill(owner.pid, signal.SIGKILL)
        until(lambda: not find(run_id).alive)
        assert find(run_id).owner_pid == owner.pid
        assert set(reclaim()) >= set(files)
        assert files_of(run_id) == []
        assert reclaim(run_id) == []


def test_a_recycled_pid_is_not_the_owner(run_id: str) -> None:
    with ControlBlock.create(run_id, 1):
        patch_word(run_id, 24, Owner.current().start_time + 1)
        assert not find(run_id).alive
        assert reclaim(run_id) == files_from("control", run_id)


def test_an_owner_in_another_pid_namespace_is_left_alone(run_id: str) -> None:
    with ControlBlock.create(run_id, 1):
        patch_word(run_id, 24, Owner.current().start_time + 1)
        patch_word(run_id, 32, Owner.current().pid_namespace + 1)
        assert find(run_id).alive
        assert reclaim(run_id) == []
        reclaim()
        assert files_of(run_id) == files_from("control", run_id)


@pytest.mark.parametrize("part", ["arena", "control"])
def test_a_run_without_owner_is_stale_when_it_is_old(run_id: str, part: str) -> None:
    # "control" here is a block whose creator died before it wrote the magic.
    with Segment.create(segment_name(run_id, part), 4096):
        assert find(run_id).owner_pid is None
        assert find(run_id).alive
        assert not set(reclaim()) & set(files_of(run_id))
        past = time.time() - 61
        os.utime(SHM / files_of(run_id)[0], (past, past))
        assert not find(run_id).alive
        assert files_from(part, run_id)[0] in reclaim()
        assert files_of(run_id) == []


def test_what_belongs_to_another_user_is_left_alone(run_id: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be someone else")
    code = "import os; from shm.reclaim import *; os.setuid(65534); print(find_runs(), reclaim())"
    with ControlBlock.create(run_id, 1):
        patch_word(run_id, 24, Owner.current().start_time + 1)
        assert not find(run_id).alive
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "[] []\n"
        assert files_of(run_id) == files_from("control", run_id)


def test_its_parent_need_not_wait_for_a_run_without_owner(run_id: str) -> None:
    with Segment.create(segment_name(run_id, "arena"), 4096):
        assert reclaim(run_id) == files_from("arena", run_id)


def test_nothing_else_is_touched(run_id: str) -> None:
    names = [
        f"loadrun-{run_id}.control",
        f"xloadrun.{run_id}.control",
        f"loadrun.{run_id.upper()}.control",
        f"loadrun.{run_id}",
        f"loadrun.{run_id}.Rings",
        f"sem.{run_id}.done",
    ]
    link = SHM / f"loadrun.{run_id}.arena"
    past = time.time() - 3600
    try:
        for name in names:
            (SHM / name).write_bytes(b"x")
            os.utime(SHM / name, (past, past))
        link.symlink_to(SHM / names[0])
        assert not set(reclaim()) & {*names, link.name}
        assert reclaim(run_id) == []
        assert all((SHM / name).exists() for name in names)
        assert link.is_symlink()
    finally:
        for name in [*names, link.name]:
            (SHM / name).unlink(missing_ok=True)


def files_from(part: str, run_id: str) -> list[str]:
    return [f"loadrun.{run_id}.{part}"]
