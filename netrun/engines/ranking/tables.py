"""Embedding tables as one file that all instances map: all rows one below the other.

facts      precision   int8, bf16 or fp32
           rows        of each table
arrays     weight      [sum of rows, width], bf16 as uint16
           scales      float32 [tables]: int8's values are numbers times the scale of their table

Tables are read, converted and written some rows at a time; see `models.resumed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.memory_nodes import interleaved
from models import artifact, resumed
from models.ranking import SIGNED, bfloat16
from models.workers import Progress, silent

KIND = "embedding-tables"
STORED = 1
ROWS = 1 << 17
"""Rows that are converted together: a table may be larger than memory."""
DTYPES = {"int8": "|i1", "bf16": "<u2", "fp32": "<f4"}


def write(
    path: Path,
    tables: Sequence[NDArray[Any]],
    precision: str,
    key: dict[str, Any],
    progress: Progress = silent,
) -> None:
    """Write tables [rows, width] of floats in a precision, or go on with it.

    Raises InputError where the disk is full.
    """
    rows, width = [len(table) for table in tables], tables[0].shape[1]
    arrays = {
        "weight": (DTYPES[precision], (sum(rows), width)),
        "scales": ("<f4", (len(rows),)),
    }
    row_bytes = width * np.dtype(DTYPES[precision]).itemsize

    def blocks(done: int, state: list[float] | None) -> Iterator[resumed.Block]:
        scales = list(state or [])
        begin = 0
        for number, table in enumerate(tables):
            size = len(table) * row_bytes
            if done < begin + size:
                first = max(0, done - begin) // row_bytes
                if len(scales) <= number:
                    scales.append(table_scale(table) if precision == "int8" else 1.0)
                for part in pieces(table, first):
                    yield resumed.Block(_stored(part, precision, scales[number]), list(scales))
            begin += size
        if done < begin + -begin % artifact.LINE:
            yield resumed.Block(np.zeros(-begin % artifact.LINE, np.uint8), scales)
        ends = np.array(scales, "<f4").view(np.uint8)
        yield resumed.Block(np.append(ends, np.zeros(-len(ends) % artifact.LINE, np.uint8)), scales)

    with interleaved():
        resumed.write(path, KIND, {**key, "precision": precision, "rows": rows}, arrays, blocks,
                      progress)  # fmt: skip


def _stored(rows: NDArray[np.float32], precision: str, scale: float) -> NDArray[Any]:
    if precision == "int8":
        scaled: NDArray[np.float32] = np.rint(rows * np.float32(1 / scale))
        return np.clip(scaled, -SIGNED, SIGNED, out=scaled).astype(np.int8)
    if precision == "fp32":
        return rows
    return bfloat16(rows)


def read(path: Path) -> artifact.Artifact:
    """Map the tables. Raises models.artifact.ArtifactError."""
    return artifact.read(path, KIND)


def table_scale(table: NDArray[np.float32]) -> float:
    """The scale of an int8 table: its largest value is 127. 1 for a table of zeros."""
    largest = max((float(np.abs(part).max(initial=0)) for part in pieces(table)), default=0.0)
    return largest / SIGNED if largest else 1.0


def pieces(table: NDArray[Any], first: int = 0) -> Iterator[NDArray[np.float32]]:
    """Its rows from one on, as float32, some at a time: a table may be larger than memory."""
    for at in range(first, len(table), ROWS):
        yield np.asarray(table[at : at + ROWS], np.float32)
