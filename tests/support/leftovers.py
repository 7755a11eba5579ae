"""What runs leave in /dev/shm, told apart from what others' runs have there meanwhile."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

SHM = Path("/dev/shm")


def left_in_shm(folder: Path) -> list[str]:
    """Files in /dev/shm of the runs that have a run.json somewhere in `folder`."""
    ids = {json.loads(path.read_text())["run_id"] for path in folder.rglob("run.json")}
    found = [(name, name.removeprefix("sem.").split(".")) for name in os.listdir(SHM)]  # noqa: PTH208
    return [name for name, (first, *rest) in found if first == "loadrun" and rest[0] in ids]


def semaphores_of(pid: int) -> set[Path]:
    """Semaphores of Python's multiprocessing that a process has opened; none of one that ended."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return set()
    return {SHM / name for name in re.findall(r"/dev/shm/(sem\.mp-\S+)", maps)}
