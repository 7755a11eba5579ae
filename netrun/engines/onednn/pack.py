"""What, besides a program, decides how it is compiled: library, instruction set, processor, shape.

It stands in the facts of an artifact and is compared when one is loaded.
"""

from __future__ import annotations

from typing import Any

from base.processors import cache_bytes, processor_identity
from netrun.engines.onednn import library as dnn

KIND = "onednn-int8"
PACKING = 4  # raised when the same program would give another artifact


def machine_facts(lib: dnn.Library, batch_size: int, threads: int) -> dict[str, Any]:
    """The facts, as JSON values."""
    return {
        "packing": PACKING,
        "library": lib.version,
        "isa": lib.isa,
        "processor": processor_identity(),
        "cache": cache_bytes(threads),
        "batch_size": batch_size,
        "threads": threads,
    }
