"""Checks of processor and kernel, from /proc and /sys below a root directory.

What a kernel or a container does not show is left out rather than guessed at. Formats: Linux
Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst, sysctl/kernel.rst, mm/transhuge.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from launch.machine.doctor.finding import Finding, Level, ok
from launch.machine.instructions import read_instruction_set
from launch.machine.topology import Topology, format_list

CPU = Path("sys/devices/system/cpu")


def check_machine(
    topology: Topology, root: Path = Path("/"), environment: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Everything about the processor and how the kernel runs it."""
    yield from _instructions(topology, root, environment)
    yield from _governor(topology, root)
    yield from _turbo(root)
    yield from _smt(topology)
    yield from _numa_balancing(topology, root)
    yield from _huge_pages(root)
    yield from _quota(topology)
    yield from _processors(topology, root)
    yield from _throttling(topology, root)


def _instructions(
    topology: Topology, root: Path, environment: Mapping[str, str] | None
) -> Iterator[Finding]:
    found = read_instruction_set(root, environment)
    if found is None:
        yield Finding(
            "instructions",
            Level.NOTE,
            f"{topology.name}: no x86",
            "the engine onednn has no library here; int8 runs through PyTorch, slower",
            "--engine pytorch",
        )
    elif found.notice is None:
        yield ok("instructions", f"{topology.name}: {found.name}")
    else:
        bounded = found.bound is not None and found.name != found.processor
        yield Finding(
            "instructions",
            Level.MATTERS if bounded else Level.NOTE,
            f"{topology.name}: {found.name}",
            found.notice.partition(" (cure")[0],
            "unset ONEDNN_MAX_CPU_ISA" if bounded else "a processor with VNNI",
        )


def _governor(topology: Topology, root: Path) -> Iterator[Finding]:
    governors = {
        text
        for processor in topology.allowed
        if (text := _text(root / CPU / f"cpu{processor.id}/cpufreq/scaling_governor"))
    }
    if not governors:
        return
    found = ", ".join(sorted(governors))
    if governors == {"performance"}:
        yield ok("governor", found)
    else:
        yield Finding(
            "governor",
            Level.MATTERS,
            found,
            "processors that were idle start slow: longer latencies, rates that vary",
            "cpupower frequency-set -g performance",
        )


def _turbo(root: Path) -> Iterator[Finding]:
    no_turbo = _text(root / CPU / "intel_pstate/no_turbo")
    boost = _text(root / CPU / "cpufreq/boost")
    if not no_turbo and not boost:
        return
    if no_turbo == "1" or boost == "0":
        switch = "0 > /sys/devices/system/cpu/intel_pstate/no_turbo"
        if not no_turbo:
            switch = "1 > /sys/devices/system/cpu/cpufreq/boost"
        yield Finding("turbo", Level.NOTE, "off", "lower rates, but steady ones", f"echo {switch}")
    else:
        yield ok("turbo", "on")


def _smt(topology: Topology) -> Iterator[Finding]:
    siblings = len(topology.siblings)
    idle = f"{siblings} siblings, which a plan leaves idle" if siblings else "no siblings in use"
    yield ok("SMT", f"{len(topology.cores)} cores, {idle}")


def _numa_balancing(topology: Topology, root: Path) -> Iterator[Finding]:
    text = _text(root / "proc/sys/kernel/numa_balancing")
    if not text:
        return
    nodes = f"{len(topology.nodes)} memory node{'s' * (len(topology.nodes) > 1)}"
    if text == "0" or len(topology.nodes) < 2:
        yield ok("NUMA balancing", f"{'off' if text == '0' else 'on'}, {nodes}")
    else:
        yield Finding(
            "NUMA balancing",
            Level.MATTERS,
            f"on, {nodes}",
            "the kernel unmaps pages to see who uses them: late queries now and then",
            "sysctl -w kernel.numa_balancing=0",
        )


def _huge_pages(root: Path) -> Iterator[Finding]:
    text = _text(root / "sys/kernel/mm/transparent_hugepage/enabled")
    chosen = re.search(r"\[(\w+)\]", text)
    if chosen is None:
        return
    if chosen[1] == "never":
        yield Finding(
            "huge pages",
            Level.NOTE,
            "never",
            "large buffers stay on pages of 4 KiB, with more TLB misses",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        )
    else:
        yield ok("huge pages", chosen[1])


def _quota(topology: Topology) -> Iterator[Finding]:
    if topology.quota is None:
        yield ok("cgroup quota", "none")
        return
    found = f"{topology.quota:g} processors' time for {len(topology.allowed)} processors"
    if topology.quota >= len(topology.allowed):
        yield ok("cgroup quota", found)
    else:
        yield Finding(
            "cgroup quota",
            Level.MATTERS,
            found,
            "once it is used up, all threads stand still until the next period (0.1 s as a rule)",
            "docker run --cpuset-cpus LIST instead of --cpus",
        )


def _processors(topology: Topology, root: Path) -> Iterator[Finding]:
    online, allowed = len(topology.processors), len(topology.allowed)
    mine = format_list([p.id for p in topology.allowed])
    if allowed == online:
        yield ok("processors", f"all {online}")
    else:
        yield Finding(
            "processors",
            Level.NOTE,
            f"{allowed} of {online} ({mine})",
            "a plan uses these only; who else may run there is not known",
            "docker run --cpuset-cpus LIST, or taskset -c LIST",
        )
    if topology.offline:
        yield Finding(
            "offline processors",
            Level.NOTE,
            format_list(list(topology.offline)),
            "they are not used",
            "echo 1 > /sys/devices/system/cpu/cpuN/online",
        )


def _throttling(topology: Topology, root: Path) -> Iterator[Finding]:
    count = thermal_throttles(topology, root)
    if count is None:
        return
    if count == 0:
        yield ok("throttling", "none since boot")
    else:
        yield Finding(
            "throttling",
            Level.NOTE,
            f"{count} times since boot",
            "hot processors slow down: rates that fall during a test",
            "better cooling, or a lower power limit that holds",
        )


def thermal_throttles(topology: Topology, root: Path = Path("/")) -> int | None:
    """How often the allowed processors slowed down for heat since boot; None: not known."""
    counts = [
        _text(root / CPU / f"cpu{processor.id}/thermal_throttle/core_throttle_count")
        for processor in topology.allowed
    ]
    known = [int(count) for count in counts if count.isdecimal()]
    return sum(known) if known else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
