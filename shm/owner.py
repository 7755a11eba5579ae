"""Who owns a run: a process named so that a recycled pid is not mistaken for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process of this boot: pid, start time (clock ticks since boot), pid namespace (inode)."""

    pid: int
    start_time: int
    pid_namespace: int

    @classmethod
    def current(cls) -> Owner:
        """Return the calling process."""
        pid = os.getpid()
        start_time = process_start_time(pid)
        if start_time is None:
            raise OSError(f"/proc/{pid}/stat: cannot be read; loadrun needs /proc mounted")
        return cls(pid, start_time, _pid_namespace())

    def alive(self) -> bool:
        """Whether the process runs still.

        A process of another pid namespace (a container that shares `/dev/shm`) cannot be seen from
        here, and counts as alive.
        """
        if self.pid_namespace != _pid_namespace():
            return True
        return process_start_time(self.pid) == self.start_time


def process_start_time(pid: int) -> int | None:
    """Return field 22 of `/proc/<pid>/stat`, or None when it is gone (a zombie is gone)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 2, the command in parentheses, may itself hold spaces and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    state, start_time = fields[0], int(fields[19])
    return None if state in {b"Z", b"X"} else start_time


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
