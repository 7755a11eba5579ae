"""Samples that are being preprocessed: kept over an interruption, so that the work goes on.

Beside the file that is built lie, as long as it is not whole::

    .<name>.partial          the samples, a .npy file of its final size
    .<name>.partial.done     a byte for each sample: 1 when it is there
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import numpy.typing as npt

from base.files import put_in_place, reserve, written_aside
from models.sample import Pixels


class PartialSamples:
    """The samples uint8 [count, *shape] of `target`, some of which are there.

    One process at a time holds it (`base.files.locked`); its workers write through `open_part`.
    Where the file system has no locks (not `alone`), each process has one of its own.
    """

    def __init__(self, target: Path, shape: tuple[int, ...], alone: bool = True) -> None:
        own = "" if alone else f".{platform.node()}-{os.getpid()}"
        self.samples = target.with_name(f".{target.name}.partial{own}")
        self.done = target.with_name(f".{target.name}.partial{own}.done")
        self._target = target
        self._shape = shape
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self._fits():
            self.remove()
            self._create()

    def missing(self) -> list[int]:
        """Return the positions of samples that are not there yet."""
        return np.flatnonzero(np.load(self.done, mmap_mode="r") == 0).tolist()

    def open(self) -> Pixels:
        """Return the samples, mapped read-only."""
        samples: Pixels = np.load(self.samples, mmap_mode="r")
        return samples

    def finish(self) -> None:
        """Put the whole file in its place."""
        put_in_place(self.samples, self._target)
        self.done.unlink()

    def remove(self) -> None:
        """Forget what is there."""
        self.samples.unlink(missing_ok=True)
        self.done.unlink(missing_ok=True)

    def _fits(self) -> bool:
        try:
            samples, done = np.load(self.samples, mmap_mode="r"), np.load(self.done)
        except (OSError, ValueError):
            return False
        expected = ((self._shape, np.uint8), (self._shape[:1], np.uint8))
        return ((samples.shape, samples.dtype), (done.shape, done.dtype)) == expected

    def _create(self) -> None:
        try:
            samples = np.lib.format.open_memmap(self.samples, "w+", np.uint8, self._shape)
            del samples
            reserve(self.samples, self.samples.stat().st_size, self._target)
            with written_aside(self.done) as aside, aside.open("wb") as file:
                np.save(file, np.zeros(self._shape[0], np.uint8))
        except BaseException:
            self.remove()
            raise


def open_part(samples: Path, done: Path) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """Return samples and marks of a PartialSamples, mapped to be written."""
    return np.load(samples, mmap_mode="r+"), np.load(done, mmap_mode="r+")
