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
from base.files import write_text
from models.criteo import aggregate
from models.criteo.aggregate import Offsets
from models.criteo.raw import to_binary
from models.criteo.rows import Rows, binary_rows, multihot_rows, processed_rows
from models.criteo.shapes import DENSE
from models.ranking import Shape
from models.task import Field
from models.workers import Progress, silent

Array = npt.NDArray[Any]

CLICKED = "clicked"
"""The field that holds a sample's truth."""
MOST_PAIRS = 4096
"""Pairs of a sample at most."""
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
    counts: tuple[int, ...]
    """For each index of a pair, the rows of the table that it looks up."""
    synthetic: bool = False
    targets: bool = False
    """Whether samples hold their truth, for an accuracy log that has it beside the predictions."""
    notes: Sequence[str] = ()
    scored: bool = True

    @property
    def preparation(self) -> str:
        """With or without targets."""
        return "criteo-targets-2" if self.targets else "criteo-2"

    @property
    def fields(self) -> tuple[Field, ...]:
        """Dense and sparse features, as many rows as the sample has pairs."""
        found = (
            Field("dense", "<f4", (None, DENSE)),
            Field("sparse", "<i4", (None, len(self.counts))),
        )
        return (*found, Field(CLICKED, "|u1", (None,))) if self.targets else found

    @property
    def truth(self) -> str:
        """The clicks of the rows."""
        return "drawn from the network's own rates" if self.synthetic else f"of {self.name}"

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def read(self, index: int) -> Mapping[str, Array]:
        """Return the features of a sample. Raises InputError for an index that no table has."""
        first = int(self.offsets[index])
        block = self.rows.block(first, int(self.offsets[index + 1]))
        check_indices(Path(self.name), block.sparse, self.counts, first)
        found = {"dense": block.dense, "sparse": block.sparse}
        return found | {CLICKED: self.labels(index)} if self.targets else found

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
        if sum(way is not None for way in self._ways) > 1:
            raise InputError(
                "--samples-to-aggregate-fix, -min and -max, and -quantile-file exclude one "
                "another: give one"
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

    @property
    def _ways(self) -> Sequence[object]:
        return (self.fix, self.least or self.most, self.quantile_file)

    def offsets(self, rows: int) -> Offsets:
        """Return the first row of each sample, and `rows` at the end. Raises InputError."""
        offsets = self._offsets(rows)
        longest = int(np.diff(offsets).max())
        if longest > MOST_PAIRS:
            raise InputError(f"a sample of {longest:,} pairs: at most {MOST_PAIRS:,} are possible")
        if self.trace_file is not None and not self._reads:
            self._write(self.trace_file, aggregate.trace(offsets))
        return offsets

    @property
    def _reads(self) -> bool:
        others = any(way is not None for way in self._ways)
        return self.trace_file is not None and not others and self.trace_file.is_file()

    @staticmethod
    def _write(path: Path, text: str) -> None:
        try:
            if not path.is_file() or path.read_text(encoding="ascii", errors="replace") != text:
                write_text(path, text)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None

    def _offsets(self, rows: int) -> Offsets:
        if self.fix is not None:
            return aggregate.by_count(rows, self.fix)
        if self.least is not None and self.most is not None:
            return aggregate.by_range(rows, self.least, self.most)
        if self.trace_file is not None and self._reads:
            return aggregate.read_trace(self.trace_file, rows)
        if self.quantile_file is not None:
            return aggregate.by_quantiles(rows, aggregate.read_quantiles(self.quantile_file))
        offsets = aggregate.by_quantiles(rows)
        if rows == aggregate.OFFICIAL_ROWS:
            # Another generator would give another test, which nobody would notice.
            found = aggregate.trace_md5(offsets)
            if found != aggregate.OFFICIAL_TRACE_MD5:
                raise InputError(
                    f"the trace of samples has MD5 {found}, MLPerf's {aggregate.OFFICIAL_TRACE_MD5}"
                    ": give MLPerf's as --samples-to-aggregate-trace-file"
                )
        return offsets


def open_rows(
    path: Path,
    shape: Shape,
    cache: Path,
    max_ind_range: int | None = None,
    progress: Progress = silent,
    left_out: float = 0.0,
    binary: bool = False,
) -> Rows:
    """Return the rows at a path, in whatever form they are; raw text is converted into `cache`.

    `max_ind_range` and `left_out` (the part of pairs that were not clicked) are for raw text;
    `binary`: only the reference's binary file of test rows will do. Raises InputError that names
    what does not fit the network.
    """
    if binary:
        path = path / BINARY if path.is_dir() else path
        if path.suffix != ".bin" or not path.is_file():
            raise InputError(f"{path}: no binary file of test rows (--mlperf-bin-loader)")
    if path.is_dir():
        rows = _of_folder(path, shape, cache, max_ind_range, progress, left_out)
    elif path.suffix == ".bin":
        rows = binary_rows(path)
    elif path.suffix == ".npz":
        rows = processed_rows(path, cache, progress)
    else:
        rows = _raw(path, shape, cache, max_ind_range, progress, left_out)
    _check(path, rows, shape)
    return rows


def _of_folder(
    folder: Path,
    shape: Shape,
    cache: Path,
    max_ind_range: int | None,
    progress: Progress,
    left_out: float,
) -> Rows:
    if (folder / "day_23_dense.npy").is_file():
        return multihot_rows(folder, shape.hot)
    for name in _KNOWN:
        if (folder / name).is_file():
            return open_rows(folder / name, shape, cache, max_ind_range, progress, left_out)
    raise InputError(
        f"{folder}: holds none of day_23_dense.npy, {', '.join(_KNOWN)}; name a file of rows"
    )


BINARY = "terabyte_processed_test.bin"
_KNOWN = (
    BINARY,
    "day_23_reordered.npz",
    "day_23_processed.npz",
    "kaggleAdDisplayChallenge_processed.npz",
    "day_23",
    "day_23.gz",
)


def _raw(
    path: Path,
    shape: Shape,
    cache: Path,
    max_ind_range: int | None,
    progress: Progress,
    left_out: float,
) -> Rows:
    same = set(shape.rows)
    modulus = max_ind_range or (min(same) if len(same) == 1 else MAX_IND_RANGE)
    by_first_sight = same != {modulus}
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    key = " ".join(
        map(str, (path.resolve(), found.st_size, found.st_mtime_ns, modulus, by_first_sight,
                  left_out))
    )  # fmt: skip
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:16]
    target = cache / "criteo" / f"{path.name}-{digest}.bin"
    to_binary(path, target, modulus, by_first_sight, progress, left_out)
    return binary_rows(target)


def notes_of(path: Path, rows: Rows, shape: Shape, options: Mapping[str, str]) -> tuple[str, ...]:
    """What the user should know of rows at a path, given the options of the task."""
    found = []
    raw = [file for file in rows.files if file.parent.name == "criteo" and file.suffix == ".bin"]
    if raw and len(set(shape.rows)) > 1:
        found.append(
            f"{path.name}: categories are numbered as they come in this file; the published weights"
            " count over all 24 days: for their accuracy give the reference's processed files"
        )
    if not raw:
        found += [
            f"{path.name}: is processed already: --{name.replace('_', '-')} changes nothing"
            for name in ("max_ind_range", "data_sub_sample_rate")
            if name in options and float(options[name])
        ]
    return tuple(found)


def _check(path: Path, rows: Rows, shape: Shape) -> None:
    """Look at the first rows: indices that no table has would end every instance."""
    sparse = rows.block(0, min(len(rows), 1 << 16)).sparse
    if sparse.shape[1] != shape.lookups:
        raise InputError(
            f"{path}: {sparse.shape[1]} indices a row, the network looks up {shape.lookups}"
        )
    check_indices(path, sparse, np.repeat(shape.rows, shape.hot))


def check_indices(path: Path, sparse: Array, counts: Sequence[int] | Array, first: int = 0) -> None:
    """Raise InputError for indices beyond their tables: they would end every instance.

    `counts` are the tables' rows, for each column of `sparse`; `first` is the first row's number.
    """
    beyond = (sparse < 0) | (sparse >= counts)
    if beyond.any():
        row, column = (int(at[0]) for at in np.nonzero(beyond))
        raise InputError(
            f"{path}: row {first + row} looks up {sparse[row, column]} in a table of "
            f"{counts[column]:,} rows: the data was made with another --max-ind-range or "
            "sub-sampling than the weights"
        )
