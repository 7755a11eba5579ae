"""Samples that are being preprocessed: kept over an interruption, so that the work goes on.

In the folder of the samples lie, as long as they are not whole::

    .<name>.partial          the samples, a .npy file of its final size
    .<name>.partial.done     for each sample the SHA-256 of the image that it was made of, and the
                             CRC-32 of the sample: zeros where it is not there

The name is that of the list of images, not of their content: when one is repaired, the samples of
the others are still those of the others.
"""

from __future__ import annotations

import os
import platform
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from base.files import put_in_place, reserve, written_aside
from models.sample import Pixels

DIGEST = 32
MARK = DIGEST + 4
"""Bytes of a sample's mark."""
Marks = npt.NDArray[np.uint8]


class PartialSamples:
    """The samples uint8 [count, *shape] of a list of images, some of which are there.

    One process at a time holds it (`base.files.locked`); its workers write through `open_part`.
    Where the file system has no locks (not `alone`), each process has one of its own.
    """

    def __init__(self, name: Path, shape: tuple[int, ...], alone: bool = True) -> None:
        own = "" if alone else f".{platform.node()}-{os.getpid()}"
        self.samples = name.with_name(f".{name.name}.partial{own}")
        self.done = name.with_name(f".{name.name}.partial{own}.done")
        self._name = name
        self._shape = shape
        name.parent.mkdir(parents=True, exist_ok=True)
        if not self._fits():
            self.remove()
            self._create()

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Return the positions of samples that are not there, or not of the images with these."""
        samples, marks = self.open(), np.load(self.done, mmap_mode="r")
        return [
            position
            for position, digest in enumerate(digests)
            if marks[position, :DIGEST].tobytes() != digest
            or marks[position].tobytes() != mark(digest, samples[position])
        ]

    def open(self) -> Pixels:
        """Return the samples, mapped read-only."""
        samples: Pixels = np.load(self.samples, mmap_mode="r")
        return samples

    def finish(self, target: Path) -> None:
        """Put the whole file in its place."""
        put_in_place(self.samples, target)
        self.done.unlink()

    def remove(self) -> None:
        """Forget what is there."""
        self.samples.unlink(missing_ok=True)
        self.done.unlink(missing_ok=True)

    def _fits(self) -> bool:
        try:
            samples, done = np.load(self.samples, mmap_mode="r"), np.load(self.done, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return False
        expected = ((self._shape, np.uint8), ((self._shape[0], MARK), np.uint8))
        return ((samples.shape, samples.dtype), (done.shape, done.dtype)) == expected

    def _create(self) -> None:
        try:
            samples = np.lib.format.open_memmap(self.samples, "w+", np.uint8, self._shape)
            del samples
            reserve(self.samples, self.samples.stat().st_size, self._name)
            with written_aside(self.done) as aside, aside.open("wb") as file:
                np.save(file, np.zeros((self._shape[0], MARK), np.uint8))
        except BaseException:
            self.remove()
            raise


def open_part(samples: Path, done: Path) -> tuple[Pixels, Marks]:
    """Return samples and marks of a PartialSamples, mapped to be written."""
    return np.load(samples, mmap_mode="r+"), np.load(done, mmap_mode="r+")


def mark(digest: bytes, sample: Pixels) -> bytes:
    """Return the mark of a sample that was made of the image with this SHA-256."""
    return digest + zlib.crc32(sample.tobytes()).to_bytes(4, "little")
