"""What processors there are: read from /sys, the cpuset and the cgroup quota.

Everything is read below a root directory, so that a recorded tree of another machine gives that
machine's topology. Formats: Linux Documentation/ABI/stable/sysfs-devices-system-cpu,
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

CPU = Path("sys/devices/system/cpu")
NODE = Path("sys/devices/system/node")
CGROUP = Path("sys/fs/cgroup")


@dataclass(frozen=True)
class Processor:
    """One logical processor that is online.

    `core` is the id of the lowest processor on the same physical core and `l3` that of the lowest
    one behind the same last-level cache, so that both are unique over the machine. `thread` is the
    rank among the core's threads: 0 is the one that is used when SMT siblings stay idle.
    """

    id: int
    core: int
    socket: int
    node: int
    l3: int
    thread: int
    allowed: bool


@dataclass(frozen=True)
class Topology:
    """The machine as this process may use it.

    `quota` is the cgroup's limit in processors (None: unlimited); `memory_nodes` the NUMA nodes
    that have memory this process may use; `offline` processors that exist but are switched off.
    """

    processors: tuple[Processor, ...]
    memory_nodes: frozenset[int] = field(default_factory=lambda: frozenset({0}))
    offline: tuple[int, ...] = ()
    quota: float | None = None
    name: str = "unknown processor"

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


def parse_list(text: str) -> list[int]:
    """Parse the kernel's list format, e.g. ``0-3,8,10-11``; empty text gives no numbers."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        if not part.strip():
            continue
        low, _, high = part.partition("-")
        numbers.extend(range(int(low), int(high or low) + 1))
    return numbers


def format_list(numbers: list[int] | tuple[int, ...]) -> str:
    """The kernel's list format of `numbers`, e.g. ``0-3,8``."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def read_topology(root: Path = Path("/")) -> Topology:
    """Read the topology below `root` ("/" is this machine).

    A file that is missing (as parts of /sys are in some containers) leaves the plainest
    assumption: every processor a core of its own, one socket, one node, one L3 domain.
    """
    status = _read(root / "proc/self/status")
    possible = [int(d.name[3:]) for d in (root / CPU).glob("cpu[0-9]*")]
    allowed = _status_list(status, "Cpus_allowed_list")
    online_text = _read(root / CPU / "online")
    online = parse_list(online_text) if online_text else sorted(possible) or allowed
    permitted = set(allowed or online)
    node_of = _nodes(root)
    processors = [_processor(root, number, node_of, permitted) for number in sorted(online)]
    memory = set(parse_list(_read(root / NODE / "has_memory"))) or set(node_of.values()) or {0}
    mems = _status_list(status, "Mems_allowed_list")
    return Topology(
        processors=tuple(processors),
        memory_nodes=frozenset(memory & set(mems) if mems else memory),
        offline=tuple(sorted(set(possible) - set(online))),
        quota=_quota(root),
        name=_name(root),
    )


def _processor(root: Path, number: int, node_of: dict[int, int], permitted: set[int]) -> Processor:
    base = root / CPU / f"cpu{number}"
    threads = parse_list(
        _read(base / "topology/core_cpus_list") or _read(base / "topology/thread_siblings_list")
    )
    threads = sorted({*threads, number})
    socket = int(_read(base / "topology/physical_package_id") or 0)
    # Some virtual machines and Arm boards report -1.
    socket = max(socket, 0)
    node = node_of.get(number, 0)
    return Processor(
        id=number,
        core=threads[0],
        socket=socket,
        node=node,
        l3=_l3(base, default=min((n for n, at in node_of.items() if at == node), default=0)),
        thread=threads.index(number),
        allowed=number in permitted,
    )


def _l3(base: Path, default: int) -> int:
    """Lowest processor that shares the last-level cache; a node without one is one domain."""
    for index in sorted((base / "cache").glob("index[0-9]*")):
        if _read(index / "level").strip() == "3":
            shared = parse_list(_read(index / "shared_cpu_list"))
            if shared:
                return min(shared)
    return default


def _nodes(root: Path) -> dict[int, int]:
    return {
        processor: int(node.name[4:])
        for node in (root / NODE).glob("node[0-9]*")
        for processor in parse_list(_read(node / "cpulist"))
    }


def _quota(root: Path) -> float | None:
    """The tightest limit on the way from this process's cgroup up to the root."""
    limits = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for directory in _upwards(root / CGROUP, path):
                limits.append(_ratio(*(_read(directory / "cpu.max").split() or ["max", ""])[:2]))
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", "cpu,cpuacct"):
                for directory in _upwards(root / CGROUP / mount, path):
                    limits.append(
                        _ratio(
                            _read(directory / "cpu.cfs_quota_us"),
                            _read(directory / "cpu.cfs_period_us"),
                        )
                    )
    return min((limit for limit in limits if limit is not None), default=None)


def _upwards(mount: Path, path: str) -> list[Path]:
    """The cgroup's directory and its parents; a container sees its own as the mount itself."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _ratio(quota: str, period: str) -> float | None:
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or the file is not there
        return None
    return limit if limit > 0 else None


def _name(root: Path) -> str:
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.M)
    return found.group(1).strip() if found else "unknown processor"


def _status_list(status: str, key: str) -> list[int]:
    found = re.search(rf"^{key}:\s*(\S+)", status, re.M)
    return parse_list(found.group(1)) if found else []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
