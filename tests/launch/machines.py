"""Writes /sys trees of machines as Linux shows them, for tests of topology and plan."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.machine.recording import Directory, Recorder
from launch.machine.topology import Topology, format_list, read_topology


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
    name: str = ""
    l3: str = ""  # size of an L3 cache
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
        self._write(cpu / "present", format_list(everyone))
        if self.name:
            self._write(root / "proc/cpuinfo", f"processor\t: 0\nmodel name\t: {self.name}\n")
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
                if level == 3 and self.l3:
                    self._write(base / f"cache/index{index}/size", self.l3)
        base.mkdir(parents=True, exist_ok=True)

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip("\n") + "\n")


VIRTUAL = Machine(cores=2)
DUAL_28 = Machine(sockets=2, cores=28, threads=2)
CONTAINER = Machine(cores=32, threads=2, domains=4, allowed=(5, 6, 40))
NPS4 = Machine(sockets=1, cores=64, threads=2, nodes=4, domains=8)

DESKTOP = Machine(cores=8, threads=2, name="AMD Ryzen 7 5800X 8-Core Processor", l3="32768K")
DUAL_28_NAMED = Machine(
    sockets=2,
    cores=28,
    threads=2,
    name="Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz",
    l3="39424K",
)
QUAD_28 = Machine(
    sockets=4,
    cores=28,
    threads=2,
    name="Intel(R) Xeon(R) Platinum 8280L CPU @ 2.70GHz",
    l3="39424K",
)
NPS4_NAMED = Machine(
    cores=64, threads=2, nodes=4, domains=8, name="AMD EPYC 7763 64-Core Processor", l3="32768K"
)
SNC2 = Machine(
    sockets=1, cores=32, threads=2, nodes=2, name="Intel(R) Xeon(R) Platinum 8562Y+", l3="61440K"
)
CONTAINER_OF_3 = Machine(
    cores=32,
    threads=2,
    domains=4,
    allowed=(5, 6, 40),
    name="AMD EPYC 7543 32-Core Processor",
    l3="65536K",
    files={"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000 100000"},
)
ARM_64 = Machine(
    cores=64,
    l3="32768K",
    files={"proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"},
)


@dataclass
class Hybrid(Machine):
    """Performance cores with SMT, numbered core by core as on desktops, then efficiency cores."""

    efficient: int = 0

    def topology(self, root: Path) -> Topology:
        """Write the tree below `root` and read it."""
        fast = self.cores * self.threads
        last = fast + self.efficient - 1
        cpu = root / "sys/devices/system/cpu"
        for processor in range(last + 1):
            core = processor // self.threads * self.threads
            siblings = [*range(core, core + self.threads)] if processor < fast else [processor]
            base = cpu / f"cpu{processor}"
            self._write(base / "topology/physical_package_id", "0")
            self._write(base / "topology/core_cpus_list", format_list(siblings))
            self._write(base / "cache/index3/level", "3")
            self._write(base / "cache/index3/shared_cpu_list", f"0-{last}")
            self._write(base / "cache/index3/size", self.l3)
        self._write(cpu / "online", f"0-{last}")
        self._write(cpu / "present", f"0-{last}")
        self._write(root / "sys/devices/cpu_core/cpus", f"0-{fast - 1}")
        self._write(root / "sys/devices/cpu_atom/cpus", f"{fast}-{last}")
        node = root / "sys/devices/system/node"
        self._write(node / "node0/cpulist", f"0-{last}")
        self._write(node / "has_memory", "0")
        self._write(root / "proc/cpuinfo", f"processor\t: 0\nmodel name\t: {self.name}\n")
        self._write(
            root / "proc/self/status", f"Cpus_allowed_list:\t0-{last}\nMems_allowed_list:\t0\n"
        )
        return read_topology(root)


HYBRID = Hybrid(
    cores=8, threads=2, efficient=16, name="13th Gen Intel(R) Core(TM) i9-13900K", l3="36864K"
)
MACHINES: dict[str, Machine] = {
    "desktop": DESKTOP,
    "dual_28": DUAL_28_NAMED,
    "quad_28": QUAD_28,
    "nps4": NPS4_NAMED,
    "snc2": SNC2,
    "container": CONTAINER_OF_3,
    "hybrid": HYBRID,
    "arm": ARM_64,
}
"""The machines whose recordings stand in tests/launch/recordings (`python tests/launch/machines.py`
writes them anew)."""
RECORDINGS = Path(__file__).parent / "recordings"


def main() -> None:
    """Write every recording."""
    RECORDINGS.mkdir(exist_ok=True)
    for name, machine in MACHINES.items():
        with tempfile.TemporaryDirectory() as directory:
            machine.topology(Path(directory))
            recorder = Recorder(Directory(Path(directory)))
            read_topology(recorder)
            (RECORDINGS / f"{name}.json").write_text(recorder.recorded.to_json())


if __name__ == "__main__":
    main()
