"""What an instance tells about itself once it is ready, for the run's record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil

from netrun.config import NetrunConfig
from netrun.engines import Engine


def write_report(config: NetrunConfig, engine: Engine, rate: float, loaded_s: float) -> None:
    """Write the instance's facts to its report file: aside first, then renamed."""
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
        "load_s": round(loaded_s, 3),
        "unique_memory_mb": round(psutil.Process().memory_full_info().uss / 1e6, 1),
        "details": engine.describe(),
    }
    path = Path(config.report)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(facts, indent=2))
    aside.replace(path)
