"""What an instance tells about itself once it is ready, for the run's record."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil

from base.files import write_text
from netrun.config import NetrunConfig
from netrun.engines.engine import Answering, Engine
from shm.owner import process_start_time


class StartClock:
    """Notes when this process reached each phase, in seconds since it was started.

    The kernel's clock ticks are the resolution: 10 ms.
    """

    def __init__(self) -> None:
        ticks = process_start_time(os.getpid())
        self._started = None if ticks is None else ticks / os.sysconf("SC_CLK_TCK")
        self.phases_s: dict[str, float] = {}

    def reached(self, phase: str) -> None:
        """Note `phase`, unless the kernel does not tell when the process was started."""
        if self._started is not None:
            since = time.clock_gettime(time.CLOCK_BOOTTIME) - self._started
            self.phases_s[phase] = round(since, 3)


def write_report(
    config: NetrunConfig, engine: Engine | Answering, rate: float | None, clock: StartClock
) -> None:
    """Write the instance's facts to its report file, whole.

    `rate` is what it measured by itself, in samples/s, if it did. To be called last: it notes the
    phase "ready".
    """
    facts: dict[str, Any] = {
        "instance": config.instance,
        "pid": os.getpid(),
        "engine": config.engine,
        "precision": config.precision,
        "batch_size": config.batch_size,
        "threads": config.threads,
        "affinity": sorted(os.sched_getaffinity(0)),
        "memory_node": config.memory_node,
        "rate": rate,
        "unique_memory_mb": round(psutil.Process().memory_full_info().uss / 1e6, 1),
        "details": engine.describe(),
    }
    clock.reached("ready")
    facts["phases_s"] = clock.phases_s
    write_text(Path(config.report), json.dumps(facts, indent=2))
