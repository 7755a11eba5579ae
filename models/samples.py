"""Prepared samples: a data set after preprocessing, in a folder that processes map.

    <field>.npy         of a fixed shape: [n, *shape]; else the elements of all samples, end to end
    <field>.shape.npy   int64 [n, dimensions], where the shape varies
    cost.npy            float64 [n]: the work of each sample, in the data set's own unit
    facts.json          the fields, and size and checksum of each of these files

They are found by what shaped them: the raw data's content, and what is made of it. Nothing in such
a folder is executable, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import mmap
import os
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from base.errors import InputError, quoted
from base.files import locked, put_folder_in_place, write_text
from base.text import slug
from models.own.sources import source_hash
from models.partial import Part, PartialSamples
from models.task import Array, DataSet, Field
from models.workers import CHUNK, Progress, for_each_chunk, silent

FACTS = "facts.json"
VERSION = 1
"""Of the folder; another one is built anew."""
CHECKED_BYTES = 256 << 20
"""How much of a cached file is compared with its checksum on each use: 0.1 s worth."""
_BLOCK = 1 << 20
_KINDS = "biufc"
"""Booleans and numbers, by NumPy's letters."""
_MOST_DIMENSIONS = 8
_NAME = re.compile(r"[a-z][a-z0-9_]{0,38}", re.ASCII)
_LARGEST_CHUNK = 256
_FEW = 8

_log = logging.getLogger(__name__)


class SamplesError(InputError):
    """A folder that holds no prepared samples; the message names it."""


class Itemised(ABC):
    """A data set (`models.task.DataSet`) of one item a sample, each with a content of its own.

    Files, for instance: only samples of those that have changed are prepared anew, and those of
    others are kept where one cannot be read. The truth is no part of the samples' key.
    """

    items: str
    """What they are called: `images`."""

    @property
    @abstractmethod
    def digests(self) -> Sequence[bytes]:
        """The SHA-256 of each item, in the data set's order."""

    @property
    @abstractmethod
    def place(self) -> str:
        """What names the list of items, whatever they hold."""

    @abstractmethod
    def item(self, index: int) -> str:
        """What people call one."""

    @abstractmethod
    def unchanged(self, index: int) -> bool:
        """Whether an item, which was just read, is still the one that `digests` tell of."""

    @abstractmethod
    def forget(self) -> None:
        """Have all digests taken anew the next time: what they were kept by cannot be relied on."""


@dataclass(frozen=True)
class _Column:
    """A field of all samples."""

    field: Field
    data: Array
    dims: npt.NDArray[np.int64] | None = None
    """Of each sample [n, d], where they vary; then `ends` says where its elements end in `data`."""
    ends: npt.NDArray[np.int64] | None = None

    def row(self, index: int) -> Array:
        if self.ends is None or self.dims is None:
            row: Array = self.data[index]
            return row
        start = self.ends[index - 1] if index else 0
        return self.data[start : self.ends[index]].reshape(self.dims[index])

    def nbytes(self) -> npt.NDArray[np.int64]:
        if self.dims is None:
            each = math.prod(self.data.shape[1:]) * self.data.itemsize
            return np.full(len(self.data), each, np.int64)
        nbytes: npt.NDArray[np.int64] = self.dims.prod(1) * self.data.itemsize
        return nbytes


@dataclass(frozen=True)
class Prepared(Sequence[Mapping[str, Array]]):
    """Prepared samples, mapped read-only. `costs` is float64 [n], in the data set's own unit."""

    path: Path
    fields: tuple[Field, ...]
    costs: npt.NDArray[np.float64]
    _columns: Mapping[str, _Column]

    @classmethod
    def open(cls, path: Path) -> Prepared:
        """Map the samples of a folder; raises SamplesError. `prepare` compares checksums."""
        try:
            facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
            if facts["version"] != VERSION:
                raise ValueError(f"is of version {quoted(facts['version'])}")
            fields = tuple(Field(n, t, tuple(shape)) for n, t, shape in facts["fields"])
            check_fields(fields)
            costs = np.load(path / "cost.npy", mmap_mode="r", allow_pickle=False)
            if costs.dtype != np.float64 or costs.ndim != 1:
                raise ValueError(f"costs are {costs.dtype}{list(costs.shape)}")
            if not (len(costs) and np.isfinite(costs).all() and costs.min() > 0):
                raise ValueError("costs are no positive numbers")
            columns = {field.name: _column(path, field, len(costs)) for field in fields}
        except OSError as error:
            why = error.strerror or error
            raise SamplesError(f"{path}: no prepared samples ({why})") from None
        except (
            Exception
        ) as error:  # NumPy's header is a Python literal: whatever parsing one raises
            raise SamplesError(f"{path}: no prepared samples: {quoted(str(error))}") from None
        return cls(path, fields, costs, columns)

    def __len__(self) -> int:
        return len(self.costs)

    @overload
    def __getitem__(self, index: int) -> dict[str, Array]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Array]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Array] | list[dict[str, Array]]:
        """One sample, by field, without a copy."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        return {name: column.row(index) for name, column in self._columns.items()}

    def column(self, field: str) -> Array:
        """A fixed field of all samples, [n, *shape]. Raises ValueError for one that varies."""
        column = self._columns[field]
        if column.ends is not None:
            raise ValueError(f"{field}: its shape varies from sample to sample")
        return column.data

    def nbytes(self, field: str) -> npt.NDArray[np.int64]:
        """The bytes of each sample's row of a field, [n]."""
        return self._columns[field].nbytes()

    def largest(self) -> dict[str, int]:
        """The most bytes that a sample has of each field."""
        return {field.name: int(self.nbytes(field.name).max()) for field in self.fields}

    def head(self, count: int) -> Prepared:
        """The first `count` samples."""
        columns = {name: _head(column, count) for name, column in self._columns.items()}
        return replace(self, costs=self.costs[:count], _columns=columns)

    def forget(self) -> None:
        """Let go of the memory that reading has taken: it stays in the page cache alone."""
        for column in self._columns.values():
            mapping = _mapping_of(column.data)
            if mapping is not None:
                mapping.madvise(mmap.MADV_DONTNEED)


def check_fields(fields: Sequence[Field]) -> None:
    """Raise ValueError for fields that cannot be kept."""
    if not fields or len({field.name for field in fields}) != len(fields):
        raise ValueError("a sample consists of fields with a name each")
    for field in fields:
        if not _NAME.fullmatch(field.name) or field.name in ("cost", "marks"):
            raise ValueError(f"{quoted(field.name)} is no name of a field (a-z, 0-9, _)")
        dtype = np.dtype(field.dtype)
        if dtype.kind not in _KINDS or dtype.str != field.dtype or dtype.str[0] == ">":
            raise ValueError(
                f"{field.name}: {quoted(field.dtype)} is no type of samples (|u1, <f4)"
            )
        if len(field.shape) > _MOST_DIMENSIONS or any(
            not isinstance(size, int) or size < 1 for size in field.sizes
        ):
            raise ValueError(f"{field.name}: {field.shape} is no shape of samples")


def _column(path: Path, field: Field, count: int) -> _Column:
    data = np.load(path / f"{field.name}.npy", mmap_mode="r", allow_pickle=False)
    if data.dtype != np.dtype(field.dtype):
        raise ValueError(f"{field.name} is {data.dtype}, not {field.dtype}")
    if field.fixed:
        if data.shape != (count, *field.shape):
            raise ValueError(f"{field.name} is {list(data.shape)} of {count} samples")
        return _Column(field, data)
    dims = np.load(path / f"{field.name}.shape.npy", mmap_mode="r", allow_pickle=False)
    if dims.dtype != np.int64 or dims.shape != (count, len(field.shape)) or data.ndim != 1:
        raise ValueError(f"{field.name}: shapes are {dims.dtype}{list(dims.shape)}")
    right = [dims[:, axis] == size for axis, size in enumerate(field.shape) if size is not None]
    # As floats: products of what a damaged file holds may be beyond 64 bits.
    sizes = dims.astype(np.float64).prod(1)
    if (dims < 0).any() or not np.all(right) or sizes.sum() != len(data):
        raise ValueError(f"{field.name}: shapes do not fit {len(data)} elements")
    return _Column(field, data, dims, dims.prod(1).cumsum())


def _head(column: _Column, count: int) -> _Column:
    if column.dims is None or column.ends is None:
        return replace(column, data=column.data[:count])
    return replace(column, dims=column.dims[:count], ends=column.ends[:count])


def _mapping_of(source: Array) -> mmap.mmap | None:
    """The mapped file behind an array; None where it lies in memory."""
    base: object = source
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def prepare(data: DataSet, cache: Path, progress: Progress = silent) -> Prepared:
    """Return the data set's samples, preprocessed unless the cache holds them.

    A cached file that is truncated or whose checksum differs is built again, with a warning in the
    log. What an interrupted call has prepared is kept and counts as done. `progress` is called only
    while building. Raises InputError that names a bad item, and a file that names all where there
    are several: the others are kept, so that only those are left to do.
    """
    check_fields(data.fields)
    folder = cache / "samples"
    name = slug(data.preparation)
    path = folder / f"{name}-{_key(data)}"
    # Found without a lock, so that a cache may be read-only.
    if not _is_whole(path, data, _log.debug):
        place = folder / f"{name}-{_place(data)}"
        with locked(place) as alone:
            if not _is_whole(path, data, _log.warning):
                _build(data, place, path, progress, alone)
    return Prepared.open(path)


def _key(data: DataSet) -> str:
    """Names what the samples are made of: the content, whatever it is called."""
    if isinstance(data, Itemised):
        content = hashlib.sha256(b"".join(data.digests)).hexdigest()
        return _short(f"{data.items} {content}")
    # A user's own preprocessing changes with its source, whatever it calls itself.
    return _short(" ".join(filter(None, ("data", data.sha256, source_hash(type(data))))))


def _place(data: DataSet) -> str:
    """Names the data set, whatever it holds: one that is repaired stays in its place."""
    return _short(data.place) if isinstance(data, Itemised) else _key(data)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _build(data: DataSet, name: Path, path: Path, progress: Progress, alone: bool) -> None:
    report = name.with_name(f"{name.name}.bad.txt")
    report.unlink(missing_ok=True)
    count = len(data)
    digests = data.digests if isinstance(data, Itemised) else [_same(data)] * count
    partial = PartialSamples(name, data.fields, count, alone)
    missing = partial.missing(digests)
    there = count - len(missing)
    refused = sorted(
        one
        for chunk in for_each_chunk(
            _Preparation(data, partial.folder),
            [(i, digests[i]) for i in missing],
            lambda done, _: progress(there + done, count),
            _chunk(len(missing)),
        )
        for one in chunk
    )
    if refused:
        if any(one.changed for one in refused) and isinstance(data, Itemised):
            data.forget()
        if len(refused) == count or not alone:
            partial.remove()
        items = data.items if isinstance(data, Itemised) else "samples"
        raise InputError(_one_line([one.why for one in refused], count, items, report))
    partial.finish()
    _write_facts(partial.folder, data.fields)
    put_folder_in_place(partial.folder, path)


def _same(data: DataSet) -> bytes:
    return hashlib.sha256(data.sha256.encode()).digest()


def _chunk(count: int) -> int:
    """Items of a piece of work: few where each may be much work, and never too many pieces."""
    if count <= _FEW:
        return _FEW  # not worth a process
    processors = len(os.sched_getaffinity(0))
    few = min(CHUNK, max(1, count // (4 * processors)))
    return max(few, min(_LARGEST_CHUNK, count // 1000))


def _one_line(errors: list[str], count: int, items: str, report: Path) -> str:
    """One line about what cannot be used; where that is several items, a file names all."""
    if len(errors) == 1:
        return errors[0]
    write_text(report, "\n".join(errors) + "\n")
    return (
        f"{errors[0]}, and {len(errors) - 1} more of {count} {items} cannot be used: see {report}"
    )


@dataclass(frozen=True, order=True)
class _Refused:
    """Which item cannot be used, why, and whether it is another one than it was a moment ago."""

    index: int
    why: str
    changed: bool


@dataclass(frozen=True)
class _Preparation:
    """What worker processes do: prepare samples of `data` into a folder of partial samples."""

    data: DataSet
    folder: Path

    def __call__(self, items: Sequence[tuple[int, bytes]]) -> list[_Refused]:
        """Keep these samples; return what cannot be used."""
        data, refused = self.data, []
        with _naming(self.folder):
            part = Part(self.folder, data.fields, items[0][0])
        with part:
            for index, digest in items:
                try:
                    sample = data.read(index)
                except InputError as error:
                    refused.append(_Refused(index, str(error), False))
                    continue
                # What was read must be what the key says: it may change while all this goes on.
                if isinstance(data, Itemised) and not data.unchanged(index):
                    why = f"{data.item(index)}: changed while it was read; run it again"
                    refused.append(_Refused(index, why, True))
                    continue
                cost = data.cost(sample)
                _check(data, index, sample, cost)
                with _naming(self.folder):
                    part.put(index, digest, sample, cost)
        return refused


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Say where it was that something could not be written."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder}: samples cannot be written: {error.strerror or error} (choose another place"
            " for the cache with LOADRUN_CACHE)"
        ) from None


def _check(data: DataSet, index: int, sample: Mapping[str, Array], cost: float) -> None:
    """Raise InputError where a data set does not keep to its own fields: a task may be a user's."""
    where = f"{data.name}: sample {index}"
    names = [field.name for field in data.fields]
    if sorted(sample) != sorted(names):
        raise InputError(f"{where} has the fields {sorted(sample)}, expected {sorted(names)}")
    for field in data.fields:
        row = np.asarray(sample[field.name])
        fits = row.ndim == len(field.shape) and all(
            size in (None, found) for size, found in zip(field.shape, row.shape, strict=True)
        )
        if not fits or row.dtype.str != field.dtype:
            found = f"{row.dtype.str} {row.shape}"
            raise InputError(
                f"{where}: {field.name} is {found}, expected {field.dtype} {field.shape}"
            )
    if not (math.isfinite(cost) and cost > 0):
        raise InputError(f"{where}: its cost is {cost}, expected a positive number")


def save(
    path: Path,
    fields: Sequence[Field],
    samples: Sequence[Mapping[str, Array]],
    costs: Sequence[float] | None = None,
) -> Prepared:
    """Write samples that are in memory to a new folder; all cost the same unless `costs` tell."""
    check_fields(fields)
    path.mkdir()
    for field in fields:
        rows = [np.asarray(sample[field.name], field.dtype) for sample in samples]
        if field.fixed:
            np.save(path / f"{field.name}.npy", np.stack(rows))
        else:
            np.save(path / f"{field.name}.npy", np.concatenate([row.reshape(-1) for row in rows]))
            shapes = np.array([row.shape for row in rows], np.int64)
            np.save(path / f"{field.name}.shape.npy", shapes)
    np.save(path / "cost.npy", np.ones(len(samples)) if costs is None else np.array(costs, float))
    _write_facts(path, fields)
    return Prepared.open(path)


def _write_facts(folder: Path, fields: Sequence[Field]) -> None:
    files = sorted(folder.glob("*.npy"))
    facts = {
        "version": VERSION,
        "fields": [[field.name, field.dtype, field.shape] for field in fields],
        "files": {file.name: [file.stat().st_size, checksum(file)] for file in files},
    }
    write_text(folder / FACTS, json.dumps(facts))


def _is_whole(path: Path, data: DataSet, say: Callable[..., None]) -> bool:
    if not path.exists():
        return False
    try:
        facts: dict[str, Any] = json.loads((path / FACTS).read_text(encoding="utf-8"))
        for name, (size, crc) in facts["files"].items():
            file = path / name
            if file.stat().st_size != size:
                raise ValueError(f"{name} is truncated")
            if checksum(file) != crc:
                raise ValueError(f"{name}: checksum differs")
        found = Prepared.open(path)
        if (found.fields, len(found)) != (tuple(data.fields), len(data)):
            raise ValueError(f"holds {len(found)} samples of {found.fields}")
    except Exception as error:  # whatever NumPy and JSON make of a damaged file
        say("%s: cached samples are unusable (%s), building them again", path, error)
        return False
    return True


def checksum(file: Path) -> int:
    """Return the CRC-32 of a file, or of evenly spread blocks where it is very large."""
    size, crc = file.stat().st_size, 0
    step = _BLOCK * (1 + size // CHECKED_BYTES)
    with file.open("rb") as opened:
        for start in range(0, size, step):
            opened.seek(start)
            crc = zlib.crc32(opened.read(_BLOCK), crc)
    return crc
