"""What the kernel says of a processor: its model, its instruction sets, its caches.

Read from /proc/cpuinfo (proc(5)) and from sysfs (Documentation/ABI/stable/
sysfs-devices-system-cpu); the paths are arguments, so that those of another machine can be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
IDENTITY = ("vendor_id", "cpu family", "model", "cache size")
L2_BYTES = 1 << 20
"""Assumed where the kernel does not say."""
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
ARM_CORES = {0xD0C: "Neoverse-N1", 0xD40: "Neoverse-V1", 0xD49: "Neoverse-N2", 0xD4F: "Neoverse-V2"}
"""Part numbers of server cores; Linux gives Arm processors no name."""


@dataclass(frozen=True)
class Cache:
    """A cache that a processor sees; `size` is in the kernel's words, e.g. ``512K``."""

    level: str
    kind: str
    size: str

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        digits = self.size.rstrip("".join(UNITS))
        return int(digits or 0) * UNITS.get(self.size[-1:], 1)


def processor_name(cpuinfo: str) -> str:
    """The processor's name in the text of /proc/cpuinfo, "unknown processor" without one."""
    if found := re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo, re.M):
        return found.group(1).strip()
    part = re.search(r"^CPU part\s*:\s*(0x[0-9a-f]+)$", cpuinfo, re.M)
    arm = re.search(r"^CPU implementer\s*:\s*0x41$", cpuinfo, re.M)
    if part and arm:
        return f"Arm {ARM_CORES.get(int(part.group(1), 16), f'part {part.group(1)}')}"
    return "unknown processor"


def processor_identity(cpuinfo: Path = CPUINFO) -> list[str]:
    """Maker, family, model and cache size of the first processor; empty where none are given.

    Kernels block weights by the size of caches, so that two processors with the same instruction
    set may want other layouts.
    """
    return [value for key, value in _first(cpuinfo).items() if key in IDENTITY]


def processor_flags(cpuinfo: Path = CPUINFO) -> frozenset[str] | None:
    """The flags of the first processor, None where it is no x86."""
    flags = _first(cpuinfo).get("flags")
    return None if flags is None else frozenset(flags.split())


def has_vnni(cpuinfo: Path = CPUINFO) -> bool:
    """Whether sums of products of 8 bits are added up in 32 bits; other than x86 always do."""
    flags = processor_flags(cpuinfo)
    return flags is None or not flags.isdisjoint({"avx_vnni", "avx512_vnni"})


def caches(folder: Path = CACHES) -> list[Cache]:
    """The caches in a processor's folder of sysfs, in the kernel's order."""
    found = []
    for index in sorted(folder.glob("index[0-9]*")):
        level, kind, size = (_text(index / name) for name in ("level", "type", "size"))
        if size:
            found.append(Cache(level, kind, size))
    return found


def cache_bytes(threads: int, folder: Path = CACHES) -> int:
    """Bytes of the second-level caches of `threads` cores."""
    second = (cache.bytes for cache in caches(folder) if cache.level == "2")
    return threads * next(second, L2_BYTES)


def last_level_cache(folder: Path = CACHES) -> int:
    """Bytes of the largest cache of a processor; 0 where the kernel does not say."""
    return max((cache.bytes for cache in caches(folder)), default=0)


def _first(cpuinfo: Path) -> dict[str, str]:
    """The fields of the first processor, in their order."""
    lines = _text(cpuinfo).partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""
