"""The sample arena: preprocessed samples in shared memory, written once, read by all instances.

| offset | bytes    | field                                                                 |
|-------:|---------:|-----------------------------------------------------------------------|
|      0 |        8 | magic `LRarena\\0`, written last                                       |
|      8 |        8 | version                                                               |
|     16 |        8 | slots                                                                 |
|     24 |        8 | dtype: NumPy's `dtype.str` in ASCII, e.g. `|u1`, padded with zeros    |
|     32 |        8 | dimensions of a sample, at most 8                                     |
|     40 |       64 | shape of a sample, the unused dimensions zero                         |
|   4096 | slots n  | the samples in C order, n bytes each, starting on a page              |
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shm.closing import Closing
from shm.header import read_header, write_header
from shm.segment import Segment, ShmError, segment_name

PART = "arena"
MAGIC = b"LRarena\0"
VERSION = 1

KINDS = "biufc"
"""Booleans and numbers, by NumPy's letters."""

_MAX_DIMENSIONS = 8
_SAMPLES = 4096


class SampleArena(Closing):
    """The run's samples: `create` in loadrun, `attach` in the instances.

    `samples` is an array of shape (slots, *sample_shape), writable for the creator and read-only
    for all others (mapped read-only: a write is refused by NumPy, and by the processor).
    """

    def __init__(self, segment: Segment) -> None:
        slots, dtype_code, dimensions, *extents = read_header(
            segment, MAGIC, VERSION, 3 + _MAX_DIMENSIONS
        )
        code = dtype_code.to_bytes(8, "little").rstrip(b"\0")
        try:
            dtype = np.dtype(code.decode("ascii"))
        except (ValueError, TypeError, SyntaxError):
            raise ShmError(f"{segment.name}: {code!r} is no type of samples") from None
        if dtype.kind not in KINDS:
            raise ShmError(f"{segment.name}: {code!r} is no type of samples")
        shape = (slots, *extents[:dimensions])
        if segment.size < _SAMPLES + math.prod(shape) * dtype.itemsize or 0 in shape:
            raise ShmError(f"{segment.name}: {segment.size} bytes cannot hold samples {shape}")
        # frombuffer holds on to the mapping; np.ndarray(buffer=...) would dangle after close.
        samples = np.frombuffer(segment.buf, dtype, math.prod(shape), _SAMPLES)
        self.samples: npt.NDArray[Any] = samples.reshape(shape)
        self._segment = segment

    @classmethod
    def create(
        cls, run_id: str, slots: int, sample_shape: Sequence[int], dtype: npt.DTypeLike
    ) -> SampleArena:
        """Create an arena of zeros, `slots` samples of `sample_shape` and a plain `dtype`."""
        kind = np.dtype(dtype)
        if kind.kind not in KINDS:
            raise ValueError(f"dtype {kind}: expected booleans or numbers")
        if not 1 <= len(sample_shape) <= _MAX_DIMENSIONS:
            raise ValueError(f"sample_shape {tuple(sample_shape)}: expected 1 to 8 dimensions")
        if slots < 1 or min(sample_shape) < 1:
            raise ValueError(f"arena of {slots} x {tuple(sample_shape)}: expected no empty extent")
        size = _SAMPLES + slots * math.prod(sample_shape) * kind.itemsize
        segment = Segment.create(segment_name(run_id, PART), size)
        dtype_code = int.from_bytes(kind.str.encode("ascii"), "little")
        unused = (0,) * (_MAX_DIMENSIONS - len(sample_shape))
        fields = (slots, dtype_code, len(sample_shape), *sample_shape, *unused)
        write_header(segment, MAGIC, VERSION, fields)
        return cls(segment)

    @classmethod
    def attach(cls, run_id: str) -> SampleArena:
        """Attach read-only; SegmentMissing until it is there, ShmError for another layout."""
        segment = Segment.attach(segment_name(run_id, PART), writable=False)
        try:
            return cls(segment)
        except ShmError:
            segment.close()
            raise

    def close(self) -> None:
        """Unmap; idempotent. Arrays taken from `samples` stay valid as long as they are held."""
        with contextlib.suppress(AttributeError):
            del self.samples
        self._segment.close()

    def unlink(self) -> None:
        """Remove the arena; idempotent, and nothing unless this object created it."""
        self._segment.unlink()
