"""Whether the kernel has killed processes for want of memory.

Its counters: `oom_kill` in memory.events of this process's cgroup, which counts those within
(Documentation/admin-guide/cgroup-v2.rst), else in memory.oom_control (cgroup-v1/memory.rst), else
in /proc/vmstat, which counts those of the whole machine.
"""

from __future__ import annotations

import re
from pathlib import Path

from launch.machine.recording import Directory, FileTree
from launch.machine.topology import cgroup_directories

_COUNT = re.compile(r"^oom_kill (\d+)$", re.M)


class OomKills:
    """Remembers how many such kills there were."""

    def __init__(self, tree: FileTree | None = None) -> None:
        self._tree = tree or Directory(Path("/"))
        self._files = [
            *(f"{directory}/memory.events" for directory in cgroup_directories(self._tree, "")),
            *(
                f"{directory}/memory.oom_control"
                for directory in cgroup_directories(self._tree, "memory")
            ),
            "proc/vmstat",
        ]
        self._seen = self._count()

    def rose(self) -> bool:
        """Whether there were more since the last call, or since the beginning."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        for file in self._files:
            found = _COUNT.search(self._tree.read(file))
            if found:
                return int(found.group(1))
        return 0
