"""The sample arena: prepared samples in shared memory, written once, read by all instances.

A sample is a row: one array for each of some named fields. A field is of a fixed shape, or some of
its dimensions vary from sample to sample. S rows, F fields; every number is a u64:

| offset      | bytes  | what                                                                    |
|-------------|-------:|-------------------------------------------------------------------------|
| 0           |      8 | magic `LRarena\\0`, written last                                         |
| 8           |      8 | version                                                                 |
| 16, 24      |  2 x 8 | S, F                                                                    |
| 32, 40      |  2 x 8 | where the heap begins, and its bytes                                    |
| 128 + 128 f |     40 | field f: its name in ASCII, padded with zeros                           |
|             |      8 | NumPy's `dtype.str` in ASCII, e.g. `|u1`, padded with zeros             |
|             |      8 | dimensions, at most 8                                                   |
|             |     64 | shape; 2^64 - 1 where it varies, the unused dimensions 0                |
|             |      8 | where the field's column begins; 0 where the shape varies               |
| next page   |  8 W S | rows of W words: sample index (2^64 - 1: the row is empty), cost (f64); |
|             |        | for each varying field its offset in the heap and its dimensions        |
| next page   |  S n_f | for each fixed field, from a page on: the column of all rows, n_f bytes |
|             |        | each, so that a row lies at position x n_f and neighbours are one array |
| next page   |        | heap: what varying fields hold, in steps of 64 bytes, one behind the    |
|             |        | other; it is empty again when all rows are                              |

The cost is the sample's work in parts of the mean of its data set.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shm.closing import Closing
from shm.header import read_header, write_header
from shm.segment import Segment, SegmentMissing, ShmError, segment_name

PART = "arena"
MAGIC = b"LRarena\0"
VERSION = 2
STEP = 64
"""What lies in the heap begins at a multiple of so many bytes: a cache line."""

KINDS = "biufc"
"""Booleans and numbers, by NumPy's letters."""

Array = npt.NDArray[Any]

_MAX_DIMENSIONS = 8
_MAX_FIELDS = 64
_WORD = 8
_PAGE = 4096
_HEAD_FIELDS = 4
_FIELDS = 128
_FIELD = 128
_NAME_WORDS = 5
_VARIES = EMPTY = 2**64 - 1
_NAME = re.compile(r"[a-z][a-z0-9_]{0,38}", re.ASCII)


class ArenaFullError(ShmError):
    """The heap has no room for a sample."""


@dataclass(frozen=True)
class ArenaField:
    """A field of the samples: `shape` has None where it varies from sample to sample."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"field {self.name!r}: expected up to 39 of a-z, 0-9 and _")
        kind = np.dtype(self.dtype)
        if kind.kind not in KINDS or kind.str != self.dtype:
            raise ValueError(f"{self.name}: dtype {self.dtype}: expected booleans or numbers (|u1)")
        if len(self.shape) > _MAX_DIMENSIONS:
            raise ValueError(f"{self.name}: shape {self.shape}: expected at most 8 dimensions")
        if any(size is not None and size < 1 for size in self.shape):
            raise ValueError(f"{self.name}: shape {self.shape}: expected no empty extent")

    @property
    def fixed(self) -> bool:
        """Whether all samples have the same shape."""
        return None not in self.shape

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a fixed field."""
        sizes = [size for size in self.shape if size is not None]
        return math.prod(sizes) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class ArenaLayout:
    """Where everything lies, from what the creator says: fields, rows, and bytes of the heap."""

    slots: int
    fields: tuple[ArenaField, ...]
    heap_bytes: int = 0

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"arena of {self.slots} rows: expected at least 1")
        if not 1 <= len({field.name for field in self.fields}) == len(self.fields) <= _MAX_FIELDS:
            raise ValueError("an arena has 1 to 64 fields with a name each")

    @property
    def row_words(self) -> int:
        """Words of a row."""
        return 2 + sum(1 + len(field.shape) for field in self.fields if not field.fixed)

    @property
    def rows(self) -> int:
        """Where the rows begin."""
        return _align(_FIELDS + _FIELD * len(self.fields), _PAGE)

    @property
    def columns(self) -> dict[str, int]:
        """Where the column of each fixed field begins."""
        at, columns = self.rows + _align(_WORD * self.row_words * self.slots, _PAGE), {}
        for field in self.fields:
            if field.fixed:
                columns[field.name] = at
                at += _align(field.row_bytes * self.slots, _PAGE)
        return columns

    @property
    def heap(self) -> int:
        """Where the heap begins."""
        at = self.rows + _align(_WORD * self.row_words * self.slots, _PAGE)
        fixed = [field.row_bytes for field in self.fields if field.fixed]
        return at + sum(_align(each * self.slots, _PAGE) for each in fixed)

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return self.heap + _align(self.heap_bytes, _PAGE)

    def words(self) -> list[int]:
        """The header from its first field on."""
        words = [self.slots, len(self.fields), self.heap, self.heap_bytes]
        words += [0] * ((_FIELDS - 2 * _WORD) // _WORD - len(words))
        columns = self.columns
        for field in self.fields:
            name = field.name.encode("ascii").ljust(_NAME_WORDS * _WORD, b"\0")
            words += np.frombuffer(name, "<u8").tolist()
            words.append(int.from_bytes(field.dtype.encode("ascii"), "little"))
            words.append(len(field.shape))
            words += [_VARIES if size is None else size for size in field.shape]
            words += [0] * (_MAX_DIMENSIONS - len(field.shape))
            words.append(columns.get(field.name, 0))
        return words


class SampleArena(Closing):
    """The run's samples: `create` in loadrun, `attach` in the instances, `private` in one process.

    Writable for the creator and read-only for all others (mapped read-only: a write is refused by
    NumPy, and by the processor). `indices` (u64 [slots]) is LoadGen's index of the sample in each
    row, EMPTY where there is none, `costs` (float64 [slots]) its work. `columns` has the rows of
    each fixed field, [slots, *shape].
    """

    def __init__(self, buffer: memoryview | mmap.mmap, layout: ArenaLayout) -> None:
        self.layout = layout
        self.slots = layout.slots
        words, slots = layout.row_words, layout.slots
        # frombuffer holds on to the mapping; np.ndarray(buffer=...) would dangle after close.
        rows = np.frombuffer(buffer, np.uint64, words * slots, layout.rows).reshape(slots, words)
        self._rows = rows
        self.indices: npt.NDArray[np.uint64] = rows[:, 0]
        self.costs: npt.NDArray[np.float64] = rows[:, 1].view(np.float64)
        self._heap = np.frombuffer(buffer, np.uint8, layout.heap_bytes, layout.heap)
        self.columns: dict[str, Array] = {}
        self._varying: dict[str, tuple[np.dtype[Any], slice]] = {}
        at = 2
        for field in layout.fields:
            dtype = np.dtype(field.dtype)
            if field.fixed:
                shape = (slots, *(size for size in field.shape if size is not None))
                start = layout.columns[field.name]
                column = np.frombuffer(buffer, dtype, math.prod(shape), start)
                self.columns[field.name] = column.reshape(shape)
            else:
                self._varying[field.name] = dtype, slice(at, at + 1 + len(field.shape))
                at += 1 + len(field.shape)
        self._segment: Segment | None = None
        self._top = self._used = 0

    @classmethod
    def create(cls, run_id: str, layout: ArenaLayout) -> SampleArena:
        """Create an arena with empty rows; raises what `Segment.create` does."""
        segment = Segment.create(segment_name(run_id, PART), layout.size)
        arena = cls(segment.buf, layout)
        arena._segment = segment
        arena.indices[:] = EMPTY
        write_header(segment, MAGIC, VERSION, layout.words())
        return arena

    @classmethod
    def private(cls, layout: ArenaLayout) -> SampleArena:
        """Create an arena in the memory of this process alone."""
        arena = cls(mmap.mmap(-1, layout.size), layout)
        arena.indices[:] = EMPTY
        return arena

    @classmethod
    def attach(cls, run_id: str) -> SampleArena:
        """Attach read-only; SegmentMissing until it is there, ShmError for another layout."""
        segment = Segment.attach(segment_name(run_id, PART), writable=False)
        try:
            arena = cls(segment.buf, _layout_of(segment))
            arena._segment = segment
            return arena
        except BaseException:
            segment.close()
            raise

    def row(self, field: str, position: int) -> Array:
        """A field of the sample in a row, of its own shape; KeyError for one that is not there."""
        column = self.columns.get(field)
        if column is not None:
            found: Array = column[position]
            return found
        dtype, where = self._varying[field]
        at, *dims = self._rows[position, where].tolist()
        nbytes = math.prod(dims) * dtype.itemsize
        return self._heap[at : at + nbytes].view(dtype).reshape(dims)

    def loaded(self) -> list[int]:
        """The rows that hold a sample, ascending."""
        found: list[int] = (self.indices != EMPTY).nonzero()[0].tolist()
        return found

    def put(self, position: int, index: int, cost: float, sample: Mapping[str, Array]) -> None:
        """Write a sample into an empty row; ArenaFullError where the heap has no room for it."""
        if self.indices[position] != EMPTY:
            raise ValueError(f"row {position} holds sample {self.indices[position]}")
        for name, column in self.columns.items():
            column[position] = sample[name]
        top = self._top
        for name, (dtype, where) in self._varying.items():
            row = np.asarray(sample[name], dtype)
            end = top + row.nbytes
            if end > len(self._heap):
                raise ArenaFullError(
                    f"sample {index}: its {name} needs {row.nbytes} bytes, the arena has "
                    f"{len(self._heap) - top} left"
                )
            self._rows[position, where] = (top, *row.shape)
            self._heap[top:end].view(dtype).reshape(row.shape)[...] = row
            top = _align(end, STEP)
        self._top = top
        self._used += 1
        self.costs[position] = cost
        self.indices[position] = index

    def clear(self, position: int) -> None:
        """Empty a row; with the last one, the heap is empty, too."""
        if self.indices[position] != EMPTY:
            self.indices[position] = EMPTY
            self._used -= 1
            if not self._used:
                self._top = 0

    def close(self) -> None:
        """Unmap; idempotent. Arrays taken from it stay valid as long as they are held."""
        with contextlib.suppress(AttributeError):
            del self._rows, self.indices, self.costs, self._heap
        self.columns.clear()
        if self._segment is not None:
            self._segment.close()

    def unlink(self) -> None:
        """Remove the arena; idempotent, and nothing unless this object created it."""
        if self._segment is not None:
            self._segment.unlink()


def heap_bytes(nbytes: npt.NDArray[np.int64], slots: int) -> int:
    """The heap that takes any `slots` of samples.

    `nbytes` [n, fields] are the bytes of each sample's varying fields.
    """
    each = (-(-nbytes // STEP) * STEP).sum(1)
    largest = (
        np.partition(each, len(each) - slots)[len(each) - slots :] if slots < len(each) else each
    )
    return int(largest.sum())


def _layout_of(segment: Segment) -> ArenaLayout:
    """The layout that a segment's header tells of; ShmError where it is none."""
    slots, count, _, heap_size = read_header(segment, MAGIC, VERSION, _HEAD_FIELDS)
    try:
        if not 1 <= count <= _MAX_FIELDS:
            raise ValueError(f"{count} fields")
        every = (_FIELDS - 2 * _WORD + _FIELD * count) // _WORD
        words = read_header(segment, MAGIC, VERSION, every)
        start = (_FIELDS - 2 * _WORD) // _WORD
        step = _FIELD // _WORD
        fields = tuple(_field(words[start + step * f :][:step]) for f in range(count))
        layout = ArenaLayout(slots, fields, heap_size)
        if layout.words() != words or layout.size != segment.size:
            raise ValueError(f"{segment.size} bytes are not those of {slots} rows")
    except SegmentMissing:
        raise
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        raise ShmError(f"{segment.name}: cannot hold samples: {error}") from None
    return layout


def _field(words: list[int]) -> ArenaField:
    name = np.array(words[:_NAME_WORDS], "<u8").tobytes().rstrip(b"\0").decode("ascii")
    dtype = words[_NAME_WORDS].to_bytes(_WORD, "little").rstrip(b"\0").decode("ascii")
    dimensions = words[_NAME_WORDS + 1]
    shape = words[_NAME_WORDS + 2 :][: min(dimensions, _MAX_DIMENSIONS)]
    return ArenaField(name, dtype, tuple(None if size == _VARIES else size for size in shape))


def _align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
