"""Criteo's rows as LoadGen's samples: some hundred user-item pairs each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from models.criteo import aggregate
from models.criteo.aggregate import Offsets
from models.criteo.raw import to_binary
from models.criteo.rows import Rows, binary_rows, multihot_rows, processed_rows
from models.criteo.shapes import DENSE, Shape
from models.task import Field
from models.workers import Progress, silent

Array = npt.NDArray[Any]

MAX_IND_RANGE = 40_000_000
"""Of the official data set."""


@dataclass(frozen=True)
class CriteoData:
    """Samples of consecutive pairs: dense float32 [k, 13], sparse int32 [k, lookups]."""

    name: str
    sha256: str
    rows: Rows
    offsets: Offsets
    """First row of each sample, and the number of rows at the end."""
    lookups: int
    synthetic: bool = False
    preparation: str = "criteo-1"
    notes: Sequence[str] = ()
    scored: bool = True

    @property
    def fields(self) -> tuple[Field, ...]:
        """Dense and sparse features, as many rows as the sample has pairs."""
        return (
            Field("dense", "<f4", (None, DENSE)),
            Field("sparse", "<i4", (None, self.lookups)),
        )

    @property
    def truth(self) -> str:
        """The clicks of the rows."""
        return "drawn from the network's own rates" if self.synthetic else f"of {self.name}"

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def read(self, index: int) -> Mapping[str, Array]:
        """Return the features of a sample."""
        block = self.rows.block(int(self.offsets[index]), int(self.offsets[index + 1]))
        return {"dense": block.dense, "sparse": block.sparse}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Return the number of pairs."""
        return float(len(sample["dense"]))

    def labels(self, index: int) -> Array:
        """Return whether each pair of a sample was clicked: uint8 [k]."""
        return self.rows.labels(int(self.offsets[index]), int(self.offsets[index + 1]))


@dataclass(frozen=True)
class Aggregation:
    """How pairs are put together: the options of the reference's main.py, of the same names."""

    fix: int | None = None
    least: int | None = None
    most: int | None = None
    quantile_file: Path | None = None
    trace_file: Path | None = None

    def __post_init__(self) -> None:
        ways = [self.fix, self.least or self.most, self.quantile_file, self.trace_file]
        if sum(way is not None for way in ways) > 1:
            raise InputError(
                "--samples-to-aggregate-fix, -min and -max, -quantile-file and -trace-file "
                "exclude one another: give one"
            )
        if (self.least is None) != (self.most is None):
            raise InputError("--samples-to-aggregate-min goes with --samples-to-aggregate-max")
        for flag, count in (
            ("--samples-to-aggregate-fix", self.fix),
            ("--samples-to-aggregate-min", self.least),
            ("--samples-to-aggregate-max", self.most),
        ):
            if count is not None and count < 1:
                raise InputError(f"{flag} {count}: must be at least 1")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise InputError(
                f"--samples-to-aggregate-min {self.least} is above "
                f"--samples-to-aggregate-max {self.most}"
            )

    def offsets(self, rows: int) -> Offsets:
        """Return the first row of each sample, and `rows` at the end. Raises InputError."""
        if self.fix is not None:
            return aggregate.by_count(rows, self.fix)
        if self.least is not None and self.most is not None:
            return aggregate.by_range(rows, self.least, self.most)
        if self.trace_file is not None:
            return aggregate.read_trace(self.trace_file, rows)
        if self.quantile_file is not None:
            return aggregate.by_quantiles(rows, aggregate.read_quantiles(self.quantile_file))
        offsets = aggregate.by_quantiles(rows)
        if rows == aggregate.OFFICIAL_ROWS:
            # Another generator would give another test, which nobody would notice.
            assert aggregate.trace_md5(offsets) == aggregate.OFFICIAL_TRACE_MD5
        return offsets


def open_rows(
    path: Path, shape: Shape, cache: Path, max_ind_range: int | None, progress: Progress = silent
) -> Rows:
    """Return the rows at a path, in whatever form they are; raw text is converted into `cache`.

    Raises InputError that names what does not fit the network.
    """
    if path.is_dir():
        rows = _of_folder(path, shape, cache, max_ind_range, progress)
    elif path.suffix == ".bin":
        rows = binary_rows(path)
    elif path.suffix == ".npz":
        rows = processed_rows(path, cache, progress)
    else:
        rows = _raw(path, shape, cache, max_ind_range, progress)
    _check(path, rows, shape)
    return rows


def _of_folder(
    folder: Path, shape: Shape, cache: Path, max_ind_range: int | None, progress: Progress
) -> Rows:
    if (folder / "day_23_dense.npy").is_file():
        return multihot_rows(folder, shape.hot)
    for name in _KNOWN:
        if (folder / name).is_file():
            return open_rows(folder / name, shape, cache, max_ind_range, progress)
    raise InputError(
        f"{folder}: holds none of day_23_dense.npy, {', '.join(_KNOWN)}; name a file of rows"
    )


_KNOWN = (
    "terabyte_processed_test.bin",
    "day_23_reordered.npz",
    "day_23_processed.npz",
    "kaggleAdDisplayChallenge_processed.npz",
)


def _raw(
    path: Path, shape: Shape, cache: Path, max_ind_range: int | None, progress: Progress
) -> Rows:
    same = set(shape.rows)
    modulus = max_ind_range or (min(same) if len(same) == 1 else MAX_IND_RANGE)
    by_first_sight = same != {modulus}
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    key = f"{path.resolve()} {found.st_size} {found.st_mtime_ns} {modulus} {by_first_sight}"
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:16]
    target = cache / "criteo" / f"{path.name}-{digest}.bin"
    to_binary(path, target, modulus, by_first_sight, progress)
    return binary_rows(target)


def _check(path: Path, rows: Rows, shape: Shape) -> None:
    """Look at the first rows: indices that no table has would end every instance."""
    sparse = rows.block(0, min(len(rows), 1 << 16)).sparse
    if sparse.shape[1] != shape.lookups:
        raise InputError(
            f"{path}: {sparse.shape[1]} indices a row, the network looks up {shape.lookups}"
        )
    counts = np.repeat(shape.rows, shape.hot)
    beyond = (sparse < 0) | (sparse >= counts)
    if beyond.any():
        row, column = (int(at[0]) for at in np.nonzero(beyond))
        raise InputError(
            f"{path}: row {row} looks up {sparse[row, column]} in a table of {counts[column]:,} "
            "rows: the data was made with another --max-ind-range or sub-sampling than the "
            "weights"
        )
