"""What processors there are: read from /sys, the cpuset and the cgroup quota.

Everything is read below a root directory, so that a recorded tree of another machine gives that
machine's topology. Formats: Linux Documentation/ABI/stable/sysfs-devices-system-cpu,
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from base.processors import processor_name
from launch.machine.lists import format_list, parse_list
from launch.machine.recording import Directory, FileTree

__all__ = ["Processor", "Topology", "format_list", "parse_list", "read_topology"]

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
CGROUP = "sys/fs/cgroup"
EFFICIENT_SHARE = 0.75
"""Cores below this share of the fastest core's capacity are efficiency cores. Favoured cores of one
kind differ by a few percent."""


@dataclass(frozen=True)
class Processor:
    """One logical processor that is online.

    `core` is the id of the lowest processor on the same physical core and `l3` that of the lowest
    one behind the same last-level cache, so that both are unique over the machine. `thread` is the
    rank among the core's threads: 0 is the one that is used when SMT siblings stay idle.
    `efficient` marks the slower cores of a hybrid machine.
    """

    id: int
    core: int
    socket: int
    node: int
    l3: int
    thread: int
    allowed: bool
    efficient: bool = False


@dataclass(frozen=True)
class Topology:
    """The machine as this process may use it.

    `quota` is the cgroup's limit in processors (None: unlimited); `memory_nodes` the NUMA nodes
    that have memory this process may use; `offline` processors that exist but are switched off;
    `l3_size` the size of a last-level cache in the kernel's words, e.g. "32768K" ("": unknown).
    """

    processors: tuple[Processor, ...]
    memory_nodes: frozenset[int] = field(default_factory=lambda: frozenset({0}))
    offline: tuple[int, ...] = ()
    quota: float | None = None
    name: str = "unknown processor"
    l3_size: str = ""

    @property
    def allowed(self) -> tuple[Processor, ...]:
        """Processors this process may run on."""
        return tuple(p for p in self.processors if p.allowed)

    @property
    def cores(self) -> tuple[Processor, ...]:
        """One allowed processor of every physical core: its lowest allowed thread."""
        first: dict[int, Processor] = {}
        for processor in self.allowed:
            known = first.get(processor.core)
            if known is None or processor.thread < known.thread:
                first[processor.core] = processor
        return tuple(sorted(first.values(), key=lambda p: p.id))

    @property
    def performance_cores(self) -> tuple[Processor, ...]:
        """Those of `cores` that are no efficiency cores; all of them where there are no others."""
        return tuple(p for p in self.cores if not p.efficient) or self.cores

    @property
    def siblings(self) -> tuple[Processor, ...]:
        """Allowed processors that share a physical core with one of `cores`."""
        cores = set(self.cores)
        return tuple(p for p in self.allowed if p not in cores)

    @property
    def sockets(self) -> int:
        """Number of sockets with processors online."""
        return len({p.socket for p in self.processors})

    @property
    def nodes(self) -> tuple[int, ...]:
        """NUMA nodes with processors online."""
        return tuple(sorted({p.node for p in self.processors}))


def read_topology(root: Path | FileTree = Path("/")) -> Topology:
    """Read the topology below `root`: a directory ("/" is this machine) or a recording.

    A file that is missing (as parts of /sys are in some containers) leaves the plainest
    assumption: every processor a core of its own, one socket, one node, one L3 domain.
    """
    tree = Directory(root) if isinstance(root, Path) else root
    status = tree.read("proc/self/status")
    present = parse_list(tree.read(f"{CPU}/present"))
    possible = present or tree.numbers(CPU, "cpu")
    allowed = _status_list(status, "Cpus_allowed_list")
    online_text = tree.read(f"{CPU}/online")
    online = parse_list(online_text) if online_text else possible or allowed
    permitted = set(allowed or online)
    node_of = _nodes(tree)
    efficient = _efficient(tree, online)
    processors = [
        _processor(tree, number, node_of, permitted, number in efficient)
        for number in sorted(online)
    ]
    memory = set(parse_list(tree.read(f"{NODE}/has_memory"))) or set(node_of.values()) or {0}
    mems = _status_list(status, "Mems_allowed_list")
    return Topology(
        processors=tuple(processors),
        memory_nodes=frozenset(memory & set(mems) if mems else memory),
        offline=tuple(sorted(set(possible) - set(online))),
        quota=_quota(tree),
        name=processor_name(tree.read("proc/cpuinfo")),
        l3_size=_l3_size(tree, online),
    )


def _processor(
    tree: FileTree, number: int, node_of: dict[int, int], permitted: set[int], efficient: bool
) -> Processor:
    base = f"{CPU}/cpu{number}"
    threads = parse_list(
        tree.read(f"{base}/topology/core_cpus_list")
        or tree.read(f"{base}/topology/thread_siblings_list")
    )
    threads = sorted({*threads, number})
    socket = int(tree.read(f"{base}/topology/physical_package_id") or 0)
    # Some virtual machines and Arm boards report -1.
    socket = max(socket, 0)
    node = node_of.get(number, 0)
    return Processor(
        id=number,
        core=threads[0],
        socket=socket,
        node=node,
        l3=_l3(tree, base, default=min((n for n, at in node_of.items() if at == node), default=0)),
        thread=threads.index(number),
        allowed=number in permitted,
        efficient=efficient,
    )


def _efficient(tree: FileTree, online: list[int]) -> set[int]:
    """Efficiency cores: by the kernel's list (Intel), else by capacity (Arm, newer kernels)."""
    listed = parse_list(tree.read("sys/devices/cpu_atom/cpus"))
    if listed and tree.read("sys/devices/cpu_core/cpus"):
        return set(listed)
    found = {number: tree.read(f"{CPU}/cpu{number}/cpu_capacity").strip() for number in online}
    capacities = {number: int(text) for number, text in found.items() if text.isdigit()}
    fastest = max(capacities.values(), default=0)
    return {n for n, capacity in capacities.items() if capacity < EFFICIENT_SHARE * fastest}


def _l3(tree: FileTree, base: str, default: int) -> int:
    """Lowest processor that shares the last-level cache; a node without one is one domain."""
    for index in tree.numbers(f"{base}/cache", "index"):
        if tree.read(f"{base}/cache/index{index}/level").strip() == "3":
            shared = parse_list(tree.read(f"{base}/cache/index{index}/shared_cpu_list"))
            if shared:
                return min(shared)
    return default


def _l3_size(tree: FileTree, online: list[int]) -> str:
    for number in online[:1]:
        base = f"{CPU}/cpu{number}/cache"
        for index in tree.numbers(base, "index"):
            if tree.read(f"{base}/index{index}/level").strip() == "3":
                return tree.read(f"{base}/index{index}/size").strip()
    return ""


def _nodes(tree: FileTree) -> dict[int, int]:
    return {
        processor: node
        for node in tree.numbers(NODE, "node")
        for processor in parse_list(tree.read(f"{NODE}/node{node}/cpulist"))
    }


def _quota(tree: FileTree) -> float | None:
    """The tightest limit on the way from this process's cgroup up to the root."""
    limits = [
        _ratio(*(tree.read(f"{directory}/cpu.max").split() or ["max", ""])[:2])
        for directory in cgroup_directories(tree, "")
    ]
    limits += [
        _ratio(
            tree.read(f"{directory}/cpu.cfs_quota_us"), tree.read(f"{directory}/cpu.cfs_period_us")
        )
        for directory in cgroup_directories(tree, "cpu")
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def cgroup_directories(tree: FileTree, controller: str) -> list[str]:
    """This process's cgroup of a controller of version 1, or of version 2 (""), and those above.

    The nearest first; some of them may not be there.
    """
    found = []
    for line in tree.read("proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == controller == "":
            found += upwards(CGROUP, path)
        elif controller and controller in controllers.split(","):
            together = ",".join(sorted(controllers.split(",")))
            for mount in dict.fromkeys((controller, controllers, together)):
                found += upwards(f"{CGROUP}/{mount}", path)
    return found


def upwards(mount: str, path: str) -> list[str]:
    """The cgroup's directory and its parents; a container sees its own as the mount itself."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["/".join([mount, *parts[:count]]) for count in range(len(parts), -1, -1)]


def _ratio(quota: str, period: str) -> float | None:
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or the file is not there
        return None
    return limit if limit > 0 else None


def _status_list(status: str, key: str) -> list[int]:
    found = re.search(rf"^{key}:\s*(\S+)", status, re.M)
    return parse_list(found.group(1)) if found else []
