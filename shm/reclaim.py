"""Removal of what dead runs left in `/dev/shm`, and of nothing else.

A run's files are `loadrun.<run id>.<part>` and, for semaphores, `sem.loadrun.<run id>.<part>`. The
run is stale when its control block names an owner that is dead (pid, start time and pid namespace:
a recycled pid is someone else), or when it has no readable control block (its creator died while
it was being created) and none of its files is younger than `UNOWNED_AGE_S`. Files of other users
are left alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from shm import control
from shm.owner import Owner
from shm.segment import SHM_DIRECTORY

UNOWNED_AGE_S = 60.0
"""A run being created has no control block for a moment; after this long it has no future."""

_FILE = re.compile(r"(?:sem\.)?loadrun\.(?P<run_id>[a-z0-9]{4,32})\.[a-z]+[0-9]*")
_OWNER_BYTES = 48


@dataclass(frozen=True)
class RunSegments:
    """The files of one run in `/dev/shm`.

    `owner_pid` is None where no control block names the owner; `alive` then only says that the
    files are young. `files` are names in `/dev/shm`, `bytes` their size together.
    """

    run_id: str
    owner_pid: int | None
    uid: int
    alive: bool
    files: list[str]
    bytes: int


def find_runs() -> list[RunSegments]:
    """Return the runs of this user (root: of all users), living and dead, by run id."""
    runs: dict[str, dict[str, os.stat_result]] = {}
    try:
        found = os.scandir(SHM_DIRECTORY)
    except OSError:
        # Not there, or closed to this user: nothing of ours can be in it.
        return []
    with found as entries:
        for entry in entries:
            match = _FILE.fullmatch(entry.name)
            if match is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and os.geteuid() in (0, status.st_uid):
                    runs.setdefault(match["run_id"], {})[entry.name] = status
    return [_describe(run_id, files) for run_id, files in sorted(runs.items())]


def reclaim(run_id: str | None = None) -> list[str]:
    """Remove the files of all stale runs and return their names.

    With a `run_id`: of this run alone, and without the age limit on a run that has no control
    block; for the parent of a loadrun that it knows to be dead. A run with a living owner is never
    touched.
    """
    removed = []
    for run in find_runs():
        if run_id is None:
            stale = not run.alive
        else:
            stale = run.run_id == run_id and (run.owner_pid is None or not run.alive)
        if stale:
            for name in run.files:
                with contextlib.suppress(FileNotFoundError):
                    Path(SHM_DIRECTORY, name).unlink()
                    removed.append(name)
    return removed


def _describe(run_id: str, files: dict[str, os.stat_result]) -> RunSegments:
    owner = _read_owner(run_id)
    if owner is None:
        youngest = max(status.st_mtime for status in files.values())
        alive = time.time() - youngest < UNOWNED_AGE_S
    else:
        alive = owner.alive()
    return RunSegments(
        run_id=run_id,
        owner_pid=None if owner is None else owner.pid,
        uid=next(iter(files.values())).st_uid,
        alive=alive,
        files=sorted(files),
        bytes=sum(status.st_size for status in files.values()),
    )


def _read_owner(run_id: str) -> Owner | None:
    # Read rather than mapped: a file that someone truncates cannot hurt a reader.
    path = Path(SHM_DIRECTORY, f"loadrun.{run_id}.{control.PART}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        block = os.read(descriptor, _OWNER_BYTES)
    finally:
        os.close(descriptor)
    if len(block) < _OWNER_BYTES or not block.startswith(control.MAGIC):
        return None
    _, _, pid, start_time, pid_namespace, _ = memoryview(block).cast("Q")
    return Owner(pid, start_time, pid_namespace)
