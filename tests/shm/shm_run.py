"""Run ids that must leave nothing behind, and peers: real processes at the far end of a ring."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SHM = Path("/dev/shm")
DEADLINE_S = 60.0

_PEER = Path(__file__).with_name("shm_peer.py")
_ROOT = Path(__file__).parents[2]


def files_of(run_id: str) -> list[str]:
    return sorted(path.name for path in SHM.glob(f"*loadrun.{run_id}.*"))


@contextmanager
def scratch_run() -> Iterator[str]:
    """A run id of its own; fails when its files are not gone in the end, and removes them."""
    run_id = "test" + secrets.token_hex(6)
    yield run_id
    left = files_of(run_id)
    for name in left:
        (SHM / name).unlink()
    assert left == []


@contextmanager
def peer(role: str, run_id: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that plays `role` (see shm_peer), killed at the end if it still runs."""
    path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, str(_PEER), role, run_id, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`, and fail when it does not come."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(0.001)
