"""Binding a process to its processors and memory node, and reading back what the kernel did.

With numactl present a process starts as ``numactl -C 0-3 -m 0 -- ...``. Where it is missing, or
where the system forbids a memory policy (containers without CAP_SYS_NICE), the affinity is set on
the starting thread around the start, which a child inherits; memory then follows Linux's default
policy, which prefers the node of the processor that touches a page first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launch.machine.topology import Topology, format_list


@dataclass(frozen=True)
class Pinning:
    """How processes are bound here: `method` is "numactl", "sched_setaffinity" or "none".

    `numactl` is its path (None: not used), `memory` whether memory is bound too; `notice` is
    what the user must know about it, None when everything is as it should be. Where the system
    refuses (not `allowed`), processes run wherever the kernel puts them.
    """

    numactl: str | None
    memory: bool
    notice: str | None
    allowed: bool = True

    @property
    def method(self) -> str:
        """The name that run.json gives the method."""
        if not self.allowed:
            return "none"
        return "numactl" if self.numactl else "sched_setaffinity"

    def prefix(self, processors: Sequence[int], memory_node: int | None) -> list[str]:
        """The words that go before a command to bind it; empty without numactl."""
        if self.numactl is None:
            return []
        # Beyond the cpuset numactl speaks of "relative" ids only with a "+"; these are absolute.
        words = [self.numactl, "-C", format_list(list(processors))]
        if self.memory and memory_node is not None:
            words += ["-m", str(memory_node)]
        return [*words, "--"]

    @contextmanager
    def around_start(self, processors: Sequence[int]) -> Iterator[None]:
        """Start a process inside this block: without numactl the child inherits the affinity."""
        if self.numactl is not None or not self.allowed:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, processors)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def find_pinning(topology: Topology) -> Pinning:
    """Try what works here: numactl with memory binding, numactl without, plain affinity."""
    if reason := affinity_refused():
        return Pinning(
            None,
            False,
            f"the system does not allow to pin processes (sched_setaffinity: {reason}): instances"
            " run where the kernel puts them, and figures vary (cure: in a container"
            " --security-opt seccomp=unconfined, or a profile that allows it)",
            allowed=False,
        )
    numactl = shutil.which("numactl")
    if numactl is None:
        return Pinning(
            None,
            False,
            "numactl is not installed: instances are pinned by sched_setaffinity, their memory is"
            " not bound to a node (cure: apt-get install numactl)",
        )
    processor = topology.allowed[0]
    node = processor.node if processor.node in topology.memory_nodes else None
    whole = Pinning(numactl, True, None)
    if node is not None and _works(whole.prefix([processor.id], node)):
        return whole
    without = Pinning(
        numactl,
        False,
        "the system does not allow a memory policy: processors are pinned, memory is not bound to"
        " a node (in a container: --cap-add SYS_NICE)",
    )
    if _works(without.prefix([processor.id], None)):
        return without
    return Pinning(
        None, False, f"{numactl} does not work here: instances are pinned by sched_setaffinity"
    )


def affinity_refused() -> str | None:
    """Why this process may not choose its processors; None where it may."""
    try:
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _works(prefix: list[str]) -> bool:
    try:
        return subprocess.run([*prefix, "true"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@dataclass(frozen=True)
class Binding:
    """What the kernel says of a running process.

    `processors` is its affinity; `memory_policy` as in /proc/<pid>/numa_maps, e.g. "bind:0" or
    "default", None where the kernel does not report it.
    """

    processors: tuple[int, ...]
    memory_policy: str | None


def read_binding(pid: int) -> Binding | None:
    """Read back the binding of the main thread of `pid`; None when it is gone."""
    try:
        processors = tuple(sorted(os.sched_getaffinity(pid)))
    except OSError:
        return None
    return Binding(processors, _memory_policy(pid))


def _memory_policy(pid: int) -> str | None:
    """The policy of the process's heap or first private mapping: the task's own policy."""
    try:
        # As bytes: the lines name files.
        with Path(f"/proc/{pid}/numa_maps").open("rb") as maps:
            words = maps.readline().split()
    except OSError:
        return None
    return words[1].decode("ascii", "replace") if len(words) > 1 else None
