"""What, besides a program, decides how it is compiled: library, instruction set, processor, shape.

It stands in the facts of an artifact and is compared when one is loaded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.stages import cache_bytes

KIND = "onednn-int8"
PACKING = 2  # raised when the same program would give another artifact
_IDENTITY = re.compile(r"^(vendor_id|cpu family|model|cache size)\s*: (.*)$", re.MULTILINE)


def machine_facts(lib: dnn.Library, batch_size: int, threads: int) -> dict[str, Any]:
    """The facts, as JSON values."""
    return {
        "packing": PACKING,
        "library": lib.version,
        "isa": lib.isa,
        "processor": processor(),
        "cache": cache_bytes(threads),
        "batch_size": batch_size,
        "threads": threads,
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Maker, family, model and cache size of the first processor.

    Kernels block weights by the size of caches, so that two processors with the same instruction
    set may want other layouts.
    """
    try:
        first = cpuinfo.read_text().partition("\n\n")[0]
    except OSError:
        return []
    return [value for _, value in _IDENTITY.findall(first)]
