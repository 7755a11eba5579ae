"""Preprocessed samples, kept in one file that processes map instead of decoding images again."""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import models
from models.errors import InputError
from models.files import locked, written_aside
from models.imagenet.dataset import DataSet
from models.model import Model, Pixels
from models.workers import Progress, for_each_chunk, silent

CHECKED_BYTES = 256 << 20
"""How much of a cached file is compared with its checksum on each use: 0.1 s worth."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedSamples:
    """A data set after preprocessing."""

    path: Path
    """A .npy file: uint8 [count, *model.sample.shape], in the data set's order."""
    count: int
    labels: list[int] | None
    name: str
    synthetic: bool
    sha256: str
    """The data set's."""

    def open(self) -> Pixels:
        """Return the samples uint8 [count, *shape], mapped read-only."""
        samples: Pixels = np.load(self.path, mmap_mode="r")
        return samples


def prepare_samples(
    model: Model, dataset: DataSet, cache_dir: Path, progress: Progress = silent
) -> PreparedSamples:
    """Return the data set's samples for the model, preprocessed unless the cache holds them.

    A cached file that is truncated or whose checksum differs is built again, with a warning in
    the log. `progress` is called only while building. Raises InputError for a bad image.
    """
    path = cache_dir / "samples" / f"{model.preprocessing}-{dataset.sha256[:20]}.npy"
    shape = (len(dataset), *model.sample.shape)
    with locked(path):
        if not _is_whole(path, shape):
            _build(model, dataset.files, path, shape, progress)
    return PreparedSamples(
        path, len(dataset), dataset.labels, dataset.name, dataset.synthetic, dataset.sha256
    )


def _build(
    model: Model, files: Sequence[Path], path: Path, shape: tuple[int, ...], progress: Progress
) -> None:
    facts = path.with_suffix(".json")
    facts.unlink(missing_ok=True)
    with written_aside(path) as aside:
        samples = np.lib.format.open_memmap(aside, "w+", np.uint8, shape)
        _reserve(aside)
        work = partial(_preprocess_into, aside, model.name)
        for_each_chunk(work, list(enumerate(files)), progress)
        checksum = _checksum(samples)
        del samples
    with written_aside(facts) as aside:
        aside.write_text(json.dumps({"shape": shape, "crc32": checksum}))


def _reserve(file: Path) -> None:
    """Claim the file's space: writing to a mapped file on a full disk would kill the process."""
    with file.open("r+b") as opened:
        size = os.fstat(opened.fileno()).st_size
        try:
            os.posix_fallocate(opened.fileno(), 0, size)
        except OSError as error:
            raise InputError(
                f"{file.parent}: no room for {size >> 20} MB of samples ({error.strerror}); "
                "set LOADRUN_CACHE to a folder with more"
            ) from None


def _preprocess_into(target: Path, model_name: str, files: Sequence[tuple[int, Path]]) -> None:
    model = models.get(model_name)
    samples = np.load(target, mmap_mode="r+")
    for i, file in files:
        samples[i] = model.preprocess(file)


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    if not path.exists():
        return False
    try:
        facts = json.loads(path.with_suffix(".json").read_text())
        samples = np.load(path, mmap_mode="r")
        if samples.shape != shape or samples.dtype != np.uint8:
            raise ValueError(f"holds {samples.dtype}{list(samples.shape)}")
        if _checksum(samples) != facts["crc32"]:
            raise ValueError("checksum differs")
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s: cached samples are unusable (%s), building them again", path, error)
        return False
    return True


def _checksum(samples: Pixels) -> int:
    """Return the CRC-32 of the samples, or of evenly spread ones where there are very many."""
    checksum = 0
    for sample in samples[:: 1 + samples.nbytes // CHECKED_BYTES]:
        checksum = zlib.crc32(sample, checksum)
    return checksum
