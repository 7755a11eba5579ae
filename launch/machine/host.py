"""The machine and the versions that a result was measured with."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from launch.machine.instructions import features, read_instruction_set
from launch.machine.topology import Topology
from launch.outcome.room import free_bytes
from launch.supervise.environment import MAX_CPU_ISA
from shm.segment import SHM_DIRECTORY

PACKAGES = ("loadrun", "mlcommons-loadgen", "torch", "torchao", "numpy", "posix_ipc", "psutil")


def versions() -> dict[str, str]:
    """Versions of Python, the kernel and the packages that take part; absent ones are left out."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class Host:
    """Facts about the machine; memory in bytes.

    `features` are the processor's instruction sets that matter to int8, `max_cpu_isa` is the
    user's bound for oneDNN, `isa` the instruction set that it uses with it (None where the
    processor is no x86).
    """

    name: str
    architecture: str
    processor: str
    sockets: int
    nodes: int
    cores: int
    processors: int
    quota: float | None
    memory_bytes: int
    shm_free_bytes: int | None
    governor: str | None
    features: tuple[str, ...] = ()
    max_cpu_isa: str | None = None
    isa: str | None = None
    vnni: bool | None = None
    load_average: tuple[float, ...]


def host(topology: Topology) -> Host:
    """The machine as it is now."""
    instructions = read_instruction_set()
    return Host(
        name=platform.node(),
        architecture=platform.machine(),
        processor=topology.name,
        sockets=topology.sockets,
        nodes=len(topology.nodes),
        cores=len(topology.cores),
        processors=len(topology.allowed),
        quota=topology.quota,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        shm_free_bytes=shm_free_bytes(),
        governor=_governor(topology),
        features=tuple(features()),
        max_cpu_isa=os.environ.get(MAX_CPU_ISA),
        isa=instructions.name if instructions else None,
        vnni=instructions.vnni if instructions else None,
        load_average=os.getloadavg(),
    )


def shm_free_bytes() -> int | None:
    """Room in /dev/shm, in bytes; None where there is none."""
    try:
        return free_bytes(os.statvfs(SHM_DIRECTORY))
    except OSError:
        return None


def _governor(topology: Topology) -> str | None:
    first = topology.allowed[0].id
    try:
        path = Path(f"/sys/devices/system/cpu/cpu{first}/cpufreq/scaling_governor")
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
