"""Facts of an artifact as the compiler keeps them of batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def facts_of(own: Sequence[float], batches: list[list[int]] | None = None) -> dict[str, Any]:
    """Sizes that take `own` ms as they are, run as `batches` says (None: as they are)."""
    runs = batches or [[size] for size in range(1, len(own) + 1)]
    return {
        "own_ms": list(own),
        "batches": runs,
        "batch_ms": [sum(own[size - 1] for size in sizes) for sizes in runs],
        "cut": "half the cache",
        "cuts_ms": {"cache": 12.0, "half the cache": 11.0},
        "stages": [[1, 1], [7, 5]],
        "references": {},
    }


SLOW_FOUR = {
    **facts_of([4.0, 6.0, 25.0, 40.0, 11.0], [[1], [2], [2, 2], [5], [5]]),
    "references": {"pool": [3, 4]},
}
"""Three and four samples take longer than five."""
