"""How rows are put together to samples: consecutive user-item pairs, 100 to 700 in a sample.

MLPerf's rule (recommendation/dlrm, README, "aggregated samples"): with NumPy's legacy generator
seeded by 123, draw one of the 20 values of the quantile file, take that many consecutive rows, and
so on until all are taken; the last sample is what remains. The trace is a text file with a line
`first, end, count` for each sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from base.errors import InputError

SEED = 123
QUANTILES = (100, 100, *(200,) * 12, 300, 300, 400, 500, 600, 700)
"""MLPerf's distribution of pairs in a sample (tools/dist_quantile.txt)."""
OFFICIAL_ROWS = 89_137_319
"""The first half of day 23."""
OFFICIAL_SAMPLES = 330_067
OFFICIAL_TRACE_MD5 = "3db90209564316f2506c99cc994ad0b2"

Offsets = npt.NDArray[np.int64]


def by_quantiles(rows: int, quantiles: Sequence[int] = QUANTILES, seed: int = SEED) -> Offsets:
    """Return the first row of each sample, and `rows` at the end: int64 [samples + 1]."""
    return _until(rows, lambda draw: int(quantiles[draw.randint(0, len(quantiles))]), seed)


def by_range(rows: int, least: int, most: int, seed: int = SEED) -> Offsets:
    """The same for counts that are drawn evenly from `least` to `most`."""
    return _until(rows, lambda draw: int(draw.randint(least, most + 1)), seed)


def by_count(rows: int, count: int) -> Offsets:
    """The same for samples of `count` rows each."""
    return np.append(np.arange(0, rows, count, dtype=np.int64), np.int64(rows))


def _until(rows: int, count: object, seed: int) -> Offsets:
    assert callable(count)
    draw = np.random.RandomState(seed)
    offsets = [0]
    while offsets[-1] < rows:
        offsets.append(min(rows, offsets[-1] + count(draw)))
    return np.array(offsets, np.int64)


def read_quantiles(path: Path) -> list[int]:
    """Read a quantile file: counts separated by commas, blanks or lines. Raises InputError."""
    try:
        text = path.read_text(encoding="ascii")
        counts = [int(word) for word in text.replace(",", " ").split()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{path}: expected counts of pairs, e.g. 100,200,200,300") from None
    if not counts or min(counts) < 1:
        raise InputError(f"{path}: expected counts of pairs of at least 1")
    return counts


def read_trace(path: Path, rows: int) -> Offsets:
    """Read a trace; raises InputError where it does not cut `rows` rows end to end."""
    try:
        lines = np.loadtxt(path, dtype=np.int64, delimiter=",", ndmin=2)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not a trace of samples: {error}") from None
    if lines.shape[1] != 3 or len(lines) == 0:
        raise InputError(f"{path}: expected lines `first, end, count`")
    first, end, count = lines.T
    if first[0] != 0 or (first[1:] != end[:-1]).any() or (end - first != count).any():
        raise InputError(f"{path}: its samples do not follow one another")
    if (count < 1).any():
        raise InputError(f"{path}: has a sample without pairs")
    if end[-1] != rows:
        raise InputError(f"{path}: is for {end[-1]:,} rows, the data has {rows:,}")
    return np.append(first, end[-1])


def trace(offsets: Offsets) -> str:
    """Return the text of a trace file."""
    return "".join(
        f"{first}, {end}, {end - first}\n"
        for first, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    )


def trace_md5(offsets: Offsets) -> str:
    """Return the checksum that MLPerf publishes of a trace."""
    return hashlib.md5(trace(offsets).encode(), usedforsecurity=False).hexdigest()
