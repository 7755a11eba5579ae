"""Whether the machine was left alone: what others took while a test ran.

All counters are the kernel's own; reading them costs nothing while the test runs. Steal is time
that a virtual machine's host gave to others (proc(5), /proc/stat). Other work is what all processes
did on the allowed processors, less what our own did.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from launch.machine.doctor.machine import thermal_throttles
from launch.machine.topology import Topology

STEAL_SHARE = 0.01
OTHER_SHARE = 0.05
"""Shares of the allowed processors' time from which a machine is not quiet."""
Number = TypeVar("Number", int, float)

_IDLE, _IOWAIT, _STEAL, _FIELDS = 3, 4, 7, 8


@dataclass(frozen=True)
class Disturbance:
    """What went on beside a test of `seconds`; shares are of all allowed processors' time.

    `throttled_s` is how long the cgroup's quota held threads up, `thermal_throttles` how often
    processors slowed down for heat; None where the system does not report it.
    """

    seconds: float
    steal: float
    other_work: float
    throttled_s: float | None
    thermal_throttles: int | None
    load_average: tuple[float, float, float]

    @property
    def notices(self) -> list[str]:
        """What the user has to know about it, each with its effect; empty for a quiet machine."""
        effects = []
        if self.steal >= STEAL_SHARE:
            effects.append(
                f"the host gave {self.steal:.1%} of the processors' time to others (steal)"
            )
        if self.other_work >= OTHER_SHARE:
            effects.append(f"other processes took {self.other_work:.1%} of the processors' time")
        if self.throttled_s is not None and self.throttled_s > 0.01 * self.seconds:
            effects.append(f"the cgroup's CPU quota held threads up for {self.throttled_s:.1f} s")
        if self.thermal_throttles:
            effects.append(f"processors slowed down for heat {self.thermal_throttles} times")
        return [
            f"the machine was not quiet: {text}; the figures may be too low" for text in effects
        ]


class Watch:
    """Reads the counters at first, and again in `disturbance`, once our processes have ended."""

    def __init__(self, topology: Topology, root: Path = Path("/")) -> None:
        self._topology = topology
        self._root = root
        self._before = self._read()

    def disturbance(self) -> Disturbance | None:
        """What others did since; None where /proc/stat cannot be read."""
        before, now = self._before, self._read()
        seconds = now.at - before.at
        if before.total is None or now.total is None or now.total <= before.total:
            return None
        whole = now.total - before.total
        steal = now.steal - before.steal
        busy = whole - (now.idle - before.idle) - steal - (now.own - before.own)
        return Disturbance(
            seconds=round(seconds, 3),
            steal=round(steal / whole, 4),
            other_work=round(max(busy, 0.0) / whole, 4),
            throttled_s=_difference(before.throttled_s, now.throttled_s),
            thermal_throttles=_difference(before.thermal, now.thermal),
            load_average=os.getloadavg(),
        )

    def _read(self) -> _Counters:
        allowed = {f"cpu{processor.id}" for processor in self._topology.allowed}
        total = idle = steal = 0.0
        try:
            text = (self._root / "proc/stat").read_text(encoding="utf-8")
        except OSError:
            text = ""
        hertz = os.sysconf("SC_CLK_TCK")
        for line in text.splitlines():
            name, *words = line.split()
            if name in allowed:
                # Guest time is part of user time already: only the first eight count.
                fields = [int(word) / hertz for word in words[:_FIELDS]]
                total += sum(fields)
                idle += fields[_IDLE] + fields[_IOWAIT]
                steal += fields[_STEAL] if len(fields) > _STEAL else 0.0
        own = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            own += used.ru_utime + used.ru_stime
        return _Counters(
            time.monotonic(),
            total or None,
            idle,
            steal,
            own,
            self._throttled_s(),
            thermal_throttles(self._topology, self._root),
        )

    def _throttled_s(self) -> float | None:
        try:
            text = (self._root / "sys/fs/cgroup/cpu.stat").read_text(encoding="utf-8")
        except OSError:
            return None
        values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        return int(values["throttled_usec"]) / 1e6 if "throttled_usec" in values else None


@dataclass(frozen=True)
class _Counters:
    at: float
    total: float | None
    idle: float
    steal: float
    own: float
    throttled_s: float | None
    thermal: int | None


def _difference(before: Number | None, now: Number | None) -> Number | None:
    return None if before is None or now is None else now - before
