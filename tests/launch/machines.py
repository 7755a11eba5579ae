"""Writes /sys trees of machines as Linux shows them, for tests of topology and plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.topology import Topology, format_list, read_topology


@dataclass
class Machine:
    """A machine whose processors are numbered as on Linux servers: first threads of all cores of
    all sockets, then their second threads. Domains and nodes divide a socket evenly."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1
    nodes: int = 1  # of each socket
    domains: int = 1  # L3 caches of each socket
    allowed: Sequence[int] | None = None
    offline: Sequence[int] = ()
    files: dict[str, str] = field(default_factory=dict)  # further files, by path

    @property
    def physical(self) -> int:
        return self.sockets * self.cores

    def topology(self, root: Path) -> Topology:
        """Write the tree below `root` and read it."""
        everyone = range(self.physical * self.threads)
        online = [p for p in everyone if p not in self.offline]
        cpu = root / "sys/devices/system/cpu"
        for processor in everyone:
            self._write_processor(cpu / f"cpu{processor}", processor, online)
        self._write(cpu / "online", format_list(online))
        node_of = {p: self._part(p, self.nodes) for p in everyone}
        node = root / "sys/devices/system/node"
        for number in range(self.sockets * self.nodes):
            members = [p for p in online if node_of[p] == number]
            self._write(node / f"node{number}/cpulist", format_list(members))
        self._write(node / "has_memory", format_list(list(range(self.sockets * self.nodes))))
        allowed = format_list(list(self.allowed if self.allowed is not None else online))
        memory = format_list(list(range(self.sockets * self.nodes)))
        self._write(
            root / "proc/self/status",
            f"Name:\tpython\nCpus_allowed_list:\t{allowed}\nMems_allowed_list:\t{memory}\n",
        )
        for path, text in self.files.items():
            self._write(root / path, text)
        return read_topology(root)

    def _part(self, processor: int, parts: int) -> int:
        """Number of the node or L3 domain of a processor, over all sockets."""
        core = processor % self.physical
        return core * self.sockets * parts // self.physical

    def _write_processor(self, base: Path, processor: int, online: Sequence[int]) -> None:
        core = processor % self.physical
        siblings = [core + rank * self.physical for rank in range(self.threads)]
        domain = self._part(processor, self.domains)
        shared = [p for p in online if self._part(p, self.domains) == domain]
        if processor in online:
            self._write(base / "topology/physical_package_id", str(core // self.cores))
            self._write(base / "topology/core_cpus_list", format_list(siblings))
            for index, (level, members) in enumerate(((1, siblings), (2, siblings), (3, shared))):
                self._write(base / f"cache/index{index}/level", str(level))
                self._write(base / f"cache/index{index}/shared_cpu_list", format_list(members))
        base.mkdir(parents=True, exist_ok=True)

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip("\n") + "\n")


VIRTUAL = Machine(cores=2)
DUAL_28 = Machine(sockets=2, cores=28, threads=2)
CONTAINER = Machine(cores=32, threads=2, domains=4, allowed=(5, 6, 40))
NPS4 = Machine(sockets=1, cores=64, threads=2, nodes=4, domains=8)
