"""Samples that are being prepared: kept over an interruption, so that the work goes on.

In the folder of the samples lies, as long as they are not whole, a folder `.<name>.partial`::

    <field>.npy           a fixed field, of its final size
    <field>.<first>.rows  what the work that began with sample `first` gave of a varying field
    marks.npy             for each sample: the SHA-256 of what it was made of, where its varying
                          fields lie, its cost, and a CRC-32 of all; zeros where it is not there

The name is that of the list of items, not of their content: when one is repaired, the samples of
the others are still those of the others.
"""

from __future__ import annotations

import os
import platform
import shutil
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Literal, Self

import numpy as np

from base.files import reserve, written_aside
from models.task import Array, Field

MARKS = "marks.npy"
BLOCK = 16 << 20
"""Bytes that are copied at a time."""
_OPEN = 8
"""Files of rows that are held open: samples in order lie in one after the other."""


class PartialSamples:
    """The samples of a list of items, some of which are there.

    One process at a time holds it (`base.files.locked`); its workers write through `Part`. Where
    the file system has no locks (not `alone`), each process has one of its own.
    """

    def __init__(self, name: Path, fields: Sequence[Field], count: int, alone: bool = True) -> None:
        own = "" if alone else f".{platform.node()}-{os.getpid()}"
        self.folder = name.with_name(f".{name.name}.partial{own}")
        self._name = name
        self._fields = fields
        self._count = count
        name.parent.mkdir(parents=True, exist_ok=True)
        if not self._fits():
            self.remove()
            self._create()

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Return the positions of samples that are not there, or not of the items with these."""
        marks, missing = self._marks(), []
        with _Rows(self.folder, self._fields) as rows:
            for position, digest in enumerate(digests):
                mark = marks[position]
                if (
                    mark["digest"].tobytes() != digest
                    or rows.checksum(position, mark) != mark["crc"]
                ):
                    missing.append(position)
        return missing

    def finish(self) -> None:
        """Make the files of prepared samples of what is there, which must be all, and of the marks.

        Left to be done are the checksums, and the folder's name.
        """
        marks = self._marks()
        with _Rows(self.folder, self._fields) as rows:
            for field in self._fields:
                if not field.fixed:
                    self._put_together(field, marks, rows)
        np.save(self.folder / "cost.npy", marks["cost"])
        del marks
        (self.folder / MARKS).unlink()
        for file in self.folder.glob("*.rows"):
            file.unlink()

    def remove(self) -> None:
        """Forget what is there."""
        if self.folder.is_file():  # of an earlier version
            self.folder.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _put_together(self, field: Field, marks: Array, rows: _Rows) -> None:
        dims = np.ascontiguousarray(marks[f"{field.name}.dims"])
        np.save(self.folder / f"{field.name}.shape.npy", dims)
        target = self.folder / f"{field.name}.npy"
        count = int(dims.prod(1).sum())
        _empty(target, field.dtype, (count,), self._name)
        with target.open("r+b") as file:
            file.seek(target.stat().st_size - count * np.dtype(field.dtype).itemsize)
            for mark in marks:
                rows.copy(field, mark, file)

    def _marks(self) -> Array:
        marks: Array = np.load(self.folder / MARKS, mmap_mode="r")
        return marks

    def _fits(self) -> bool:
        try:
            marks = self._marks()
            found = [_load(self.folder, field) for field in self._fields if field.fixed]
        except (OSError, ValueError, EOFError):
            return False
        wanted = [
            ((self._count, *field.shape), np.dtype(field.dtype))
            for field in self._fields
            if field.fixed
        ]
        is_ours = (marks.shape, marks.dtype) == ((self._count,), marks_dtype(self._fields))
        return is_ours and [(column.shape, column.dtype) for column in found] == wanted

    def _create(self) -> None:
        try:
            self.folder.mkdir()
            for field in self._fields:
                if field.fixed:
                    shape = (self._count, *field.sizes)
                    _empty(self.folder / f"{field.name}.npy", field.dtype, shape, self._name)
            marks = self.folder / MARKS
            with written_aside(marks) as aside, aside.open("wb") as file:
                np.save(file, np.zeros(self._count, marks_dtype(self._fields)))
        except BaseException:
            self.remove()
            raise


def marks_dtype(fields: Sequence[Field]) -> np.dtype[np.void]:
    """What is known of a sample that is there."""
    parts: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [
        ("digest", "V32"),
        ("crc", "<u4"),
        ("first", "<u4"),
        ("cost", "<f8"),
    ]
    for field in fields:
        if not field.fixed:
            parts += [
                (f"{field.name}.at", "<u8"),
                (f"{field.name}.dims", "<i8", (len(field.shape),)),
            ]
    return np.dtype(parts)


class Part:
    """Where one worker puts the samples of one piece of work, the first of which is `first`."""

    def __init__(self, folder: Path, fields: Sequence[Field], first: int) -> None:
        self._folder = folder
        self._first = first
        self._marks = np.load(folder / MARKS, mmap_mode="r+")
        self._fixed = {f.name: _load(folder, f, "r+") for f in fields if f.fixed}
        self._files = ExitStack()
        self._varying = {
            f.name: self._files.enter_context(_rows(folder, f.name, first).open("ab"))
            for f in fields
            if not f.fixed
        }

    def put(self, position: int, digest: bytes, sample: Mapping[str, Array], cost: float) -> None:
        """Keep the sample of the item with this SHA-256."""
        mark = np.zeros((), self._marks.dtype)
        mark["digest"], mark["first"], mark["cost"] = np.void(digest), self._first, cost
        crc = zlib.crc32(mark["cost"].tobytes())
        for name, column in self._fixed.items():
            column[position] = sample[name]
            crc = zlib.crc32(_bytes(column[position]), crc)
        for name, file in self._varying.items():
            row = np.asarray(sample[name])
            mark[f"{name}.at"], mark[f"{name}.dims"] = file.tell(), row.shape
            data = _bytes(row)
            file.write(data)
            file.flush()
            crc = zlib.crc32(data, zlib.crc32(mark[f"{name}.dims"].tobytes(), crc))
        mark["crc"] = crc
        self._marks[position] = mark

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()


class _Rows:
    """What workers have put into a folder, to be read."""

    def __init__(self, folder: Path, fields: Sequence[Field]) -> None:
        self._folder = folder
        self._fixed = [(f, _load(folder, f)) for f in fields if f.fixed]
        self._varying = [f for f in fields if not f.fixed]
        self._files: OrderedDict[Path, BinaryIO] = OrderedDict()

    def checksum(self, position: int, mark: Array) -> int:
        """The CRC-32 of a sample as it lies there; -1 where it is not there."""
        crc = zlib.crc32(mark["cost"].tobytes())
        for _, column in self._fixed:
            crc = zlib.crc32(_bytes(column[position]), crc)
        for field in self._varying:
            crc = zlib.crc32(mark[f"{field.name}.dims"].tobytes(), crc)
            try:
                for block in self._blocks(field, mark):
                    crc = zlib.crc32(block, crc)
            except (OSError, EOFError):
                return -1
        return crc

    def copy(self, field: Field, mark: Array, target: BinaryIO) -> None:
        """Append a sample's row of a varying field to a file."""
        for block in self._blocks(field, mark):
            target.write(block)

    def _blocks(self, field: Field, mark: Array) -> Iterator[bytes]:
        left = int(mark[f"{field.name}.dims"].prod()) * np.dtype(field.dtype).itemsize
        if left <= 0:
            return
        file = self._open(_rows(self._folder, field.name, int(mark["first"])))
        file.seek(int(mark[f"{field.name}.at"]))
        while left:
            block = file.read(min(left, BLOCK))
            if not block:
                raise EOFError
            left -= len(block)
            yield block

    def _open(self, path: Path) -> BinaryIO:
        file = self._files.pop(path, None) or path.open("rb")
        self._files[path] = file
        if len(self._files) > _OPEN:
            self._files.popitem(last=False)[1].close()
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()


def _bytes(row: Array) -> memoryview:
    """The bytes of an array in C order."""
    flat: Array = np.ascontiguousarray(row).reshape(-1)
    return flat.view(np.uint8).data


def _rows(folder: Path, field: str, first: int) -> Path:
    return folder / f"{field}.{first}.rows"


def _load(folder: Path, field: Field, mode: Literal["r", "r+"] = "r") -> Array:
    column: Array = np.load(folder / f"{field.name}.npy", mmap_mode=mode)
    return column


def _empty(file: Path, dtype: str, shape: tuple[int, ...], target: Path) -> None:
    """Make a .npy file of zeros, its space claimed; raises InputError where there is none."""
    array = np.lib.format.open_memmap(file, "w+", dtype, shape)
    del array
    reserve(file, file.stat().st_size, target)
