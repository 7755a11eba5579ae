"""Rows of Criteo's data as networks take them, mapped from what the reference's tools wrote.

| source | what it holds |
|---|---|
| `terabyte_processed_test.bin` | int32 [n, 40]: label, 13 integers as they are, 26 indices |
| `*.npz` with X_int, X_cat, y | facebookresearch/dlrm's processed days |
| a folder with `day_23_dense.npy` | v2: logarithms float32 [n, 13], labels, `k.npy` of each table |
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from base.files import locked, put_in_place, reserve
from models.criteo.shapes import DENSE, SPARSE
from models.mapped import MappedArray, npy
from models.workers import Progress, silent

COLUMNS = 1 + DENSE + SPARSE
COPIED_BYTES = 16 << 20

Array = npt.NDArray[Any]


class Block(NamedTuple):
    """Some rows: dense float32 [n, 13], sparse int32 [n, lookups]."""

    dense: Array
    sparse: Array


class Rows(Protocol):
    """User-item pairs in order; nothing is read before it is asked for."""

    @property
    def files(self) -> Sequence[Path]:
        """What the rows are read from."""
        ...

    def __len__(self) -> int: ...

    def block(self, first: int, end: int) -> Block:
        """Return these rows."""
        ...

    def labels(self, first: int, end: int) -> Array:
        """Return whether these pairs were clicked: uint8 [end - first]."""
        ...


def logarithms(integers: Array) -> Array:
    """Return log(1 + x) as float32, of negative numbers log(1), as the reference does."""
    shifted = np.maximum(integers, 0).astype(np.float32) + np.float32(1)
    found: Array = np.log(shifted)
    return found


@dataclass(frozen=True)
class BinaryRows:
    """Rows of the reference's binary test file (its bin loader's)."""

    table: MappedArray
    """int32 [n, 40]."""

    @property
    def files(self) -> Sequence[Path]:
        """The one file."""
        return (self.table.path,)

    def __len__(self) -> int:
        return len(self.table)

    def block(self, first: int, end: int) -> Block:
        """Return these rows."""
        rows = self.table.array[first:end]
        return Block(logarithms(rows[:, 1 : 1 + DENSE]), np.ascontiguousarray(rows[:, 1 + DENSE :]))

    def labels(self, first: int, end: int) -> Array:
        """Return the first column."""
        return self.table.array[first:end, 0].astype(np.uint8)


def binary_rows(path: Path) -> BinaryRows:
    """Map a binary file of rows. Raises InputError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if size == 0 or size % (4 * COLUMNS):
        raise InputError(
            f"{path}: {size:,} bytes are no rows of {COLUMNS} int32 (label, {DENSE} integers, "
            f"{SPARSE} indices)"
        )
    table = MappedArray(path, "<i4", (size // (4 * COLUMNS), COLUMNS))
    label = table.array[: 1 << 16, 0]
    if label.min() < 0 or label.max() > 1:
        raise InputError(f"{path}: its first column holds {label.max()}, expected labels 0 and 1")
    return BinaryRows(table)


@dataclass(frozen=True)
class ArrayRows:
    """Rows whose columns lie in arrays of their own, mapped."""

    files: Sequence[Path]
    dense: MappedArray
    """[n, 13]: float32 logarithms, or integers."""
    sparse: Sequence[MappedArray]
    """One [n, lookups] for all tables, or one [n, k] for each."""
    clicked: MappedArray
    count: int
    """Rows that are served, from the first on."""

    def __len__(self) -> int:
        return self.count

    def block(self, first: int, end: int) -> Block:
        """Return these rows."""
        dense = self.dense.array[first:end]
        if dense.dtype.kind != "f":
            dense = logarithms(dense)
        parts = [part.array[first:end].reshape(end - first, -1) for part in self.sparse]
        sparse = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return Block(dense.astype(np.float32), sparse.astype(np.int32))

    def labels(self, first: int, end: int) -> Array:
        """Return the labels."""
        return self.clicked.array[first:end].reshape(-1).astype(np.uint8)


def multihot_rows(folder: Path, hot: Sequence[int], day: str = "day_23") -> ArrayRows:
    """Map v2's preprocessed day; the first half of its rows is the test set. Raises InputError."""
    dense, labels = folder / f"{day}_dense.npy", folder / f"{day}_labels.npy"
    unpacked = folder / f"{day}_sparse_multi_hot_unpacked"
    packed = folder / f"{day}_sparse_multi_hot.npz"
    if unpacked.is_dir():
        files = [unpacked / f"{k}.npy" for k in range(len(hot))]
        sparse = [npy(file) for file in files]
    elif packed.is_file():
        files = [packed]
        sparse = [stored_member(packed, f"{k}.npy") for k in range(len(hot))]
    else:
        raise InputError(f"{folder}: holds neither {unpacked.name}/ nor {packed.name}")
    for table, (found, width) in enumerate(zip(sparse, hot, strict=True)):
        if len(found.shape) != 2 or found.shape[1] != width:
            raise InputError(
                f"{files[table if len(files) > 1 else 0]}: table {table} has indices of shape "
                f"{list(found.shape)}, expected [n, {width}]"
            )
    arrays = [npy(dense), npy(labels), *sparse]
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) > 1:
        raise InputError(f"{folder}: its arrays have {' and '.join(map(str, lengths))} rows")
    return ArrayRows([dense, labels, *files], arrays[0], sparse, arrays[1], -(-lengths[0] // 2))


def processed_rows(path: Path, cache: Path, progress: Progress = silent) -> ArrayRows:
    """Map facebookresearch's processed .npz; what is compressed is unpacked in `cache` first."""
    members = {name: member_mapped(path, f"{name}.npy", cache, progress) for name in _PROCESSED}
    dense, sparse, clicked = (members[name] for name in _PROCESSED)
    if dense.shape[1:] != (DENSE,) or sparse.shape[1:] != (SPARSE,):
        raise InputError(
            f"{path}: X_int {list(dense.shape)} and X_cat {list(sparse.shape)}, expected [n, "
            f"{DENSE}] and [n, {SPARSE}]"
        )
    if not len(dense) == len(sparse) == len(clicked):
        raise InputError(f"{path}: X_int, X_cat and y have different lengths")
    return ArrayRows([path], dense, [sparse], clicked, len(dense))


_PROCESSED = ("X_int", "X_cat", "y")


class _Member(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    """Where the data begin in the member."""


def _described(path: Path, archive: zipfile.ZipFile, name: str) -> _Member:
    try:
        with archive.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(member)
            start = member.tell()
    except KeyError:
        names = ", ".join(sorted(archive.namelist())[:5]) or "nothing"
        raise InputError(f"{path}: has no {name} (it holds {names})") from None
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: {name} is damaged ({error})") from None
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise InputError(f"{path}: {name} holds {dtype} that cannot be mapped")
    return _Member(shape, dtype, start)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except zipfile.BadZipFile:
        raise InputError(f"{path}: not a whole .npz file") from None


def stored_member(path: Path, name: str) -> MappedArray:
    """Map an array of an .npz that is not compressed, where it lies. Raises InputError."""
    with _opened(path) as archive:
        member = _described(path, archive, name)
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{path}: {name} is compressed; unpack the archive beside it")
        with path.open("rb") as file:
            # The local header repeats the name; its extra field may differ from the directory's.
            file.seek(info.header_offset + 26)
            lengths = file.read(4)
        named, extra = int.from_bytes(lengths[:2], "little"), int.from_bytes(lengths[2:], "little")
        offset = info.header_offset + 30 + named + extra + member.start
    return MappedArray(path, member.dtype.str, member.shape, offset)


def member_mapped(path: Path, name: str, cache: Path, progress: Progress = silent) -> MappedArray:
    """Map an array of an .npz, unpacked into `cache` where it is compressed. Raises InputError."""
    with _opened(path) as archive:
        if name in archive.namelist() and not archive.getinfo(name).compress_type:
            return stored_member(path, name)
        _described(path, archive, name)
        info = archive.getinfo(name)
        found = path.stat()
        facts = f"{found.st_size}-{found.st_mtime_ns}-{info.CRC:08x}"
        target = cache / "criteo" / f"{path.stem}-{facts}-{name}"
        if not target.is_file():
            with locked(target):
                if not target.is_file():
                    _unpack(archive, name, info.file_size, target, progress)
    return npy(target)


def _unpack(
    archive: zipfile.ZipFile, name: str, size: int, target: Path, progress: Progress
) -> None:
    aside = target.with_name(f".{target.name}.aside-unpacked")
    try:
        aside.touch()
        reserve(aside, size, target)
        with archive.open(name) as member, aside.open("r+b") as file:
            done = 0
            while read := member.read(COPIED_BYTES):
                file.write(read)
                done += len(read)
                progress(done >> 20, size >> 20)
        put_in_place(aside, target)
    finally:
        aside.unlink(missing_ok=True)
