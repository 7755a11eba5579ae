"""What goes on on the machine at this moment, while nothing of ours runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

from launch.machine.doctor.finding import Finding, Level, ok
from launch.machine.quiet import OTHER_SHARE, STEAL_SHARE, Watch
from launch.machine.topology import Topology

SECONDS = 1.0


def check_noise(topology: Topology, seconds: float = SECONDS) -> Iterator[Finding]:
    """Steal and other work during `seconds`."""
    watch = Watch(topology)
    time.sleep(seconds)
    seen = watch.disturbance()
    if seen is None:
        return
    found = (
        f"{seen.other_work:.1%} of the processors' time, load average {seen.load_average[0]:.2f}"
    )
    if seen.other_work >= OTHER_SHARE:
        yield Finding(
            "other work",
            Level.MATTERS,
            found,
            "it takes processors, caches and bandwidth: lower rates, late queries",
            "end it ('top' shows it), or run when the machine is free",
        )
    else:
        yield ok("other work", found)
    if seen.steal >= STEAL_SHARE:
        yield Finding(
            "steal",
            Level.MATTERS,
            f"{seen.steal:.1%} of the processors' time",
            "the host of this virtual machine gives its processors to others: figures vary",
            "a machine or instance type with processors of its own",
        )
    else:
        yield ok("steal", f"{seen.steal:.1%}")
