"""An array that lies in a file, described by value: processes pass it on without its data."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import InputError


@dataclass(frozen=True)
class MappedArray:
    """Where an array lies; opened once a process, read when it is used."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def array(self) -> npt.NDArray[Any]:
        """The array, mapped read-only."""
        return _open(self)


@functools.lru_cache(256)
def _open(where: MappedArray) -> npt.NDArray[Any]:
    return np.memmap(where.path, where.dtype, "r", where.offset, where.shape)


def npy(path: Path) -> MappedArray:
    """Describe the array of a .npy file. Raises InputError for what cannot be mapped."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                header = np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(file)
            offset = file.tell()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise InputError(f"{path}: not a .npy file of numbers") from None
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise InputError(f"{path}: holds {dtype} that cannot be mapped")
    found = MappedArray(path, dtype.str, shape, offset)
    needed = offset + dtype.itemsize * int(np.prod(shape))
    if path.stat().st_size < needed:
        raise InputError(f"{path}: is cut off: {path.stat().st_size:,} of {needed:,} bytes")
    return found
