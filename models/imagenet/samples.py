"""Preprocessed samples, kept in one file that processes map instead of decoding images again."""

from __future__ import annotations

import functools
import json
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import models
from base.errors import InputError
from base.files import locked, write_text
from models.imagenet.dataset import DataSet
from models.imagenet.partial import PartialSamples, open_part
from models.model import Model
from models.sample import Pixels
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
    the log. What an interrupted call has preprocessed is kept and counts as done. `progress` is
    called only while building. Raises InputError that names a bad image, and a file that names all
    where there are several: the others are kept, so that only those are left to do.
    """
    path = cache_dir / "samples" / f"{model.preprocessing}-{dataset.sha256[:20]}.npy"
    shape = (len(dataset), *model.sample.shape)
    # Found without a lock, so that a cache may be read-only.
    if not _is_whole(path, shape, _log.debug):
        with locked(path) as alone:
            if not _is_whole(path, shape, _log.warning):
                _build(model, dataset.files, path, shape, progress, alone)
    return PreparedSamples(
        path, len(dataset), dataset.labels, dataset.name, dataset.synthetic, dataset.sha256
    )


def _build(
    model: Model,
    files: Sequence[Path],
    path: Path,
    shape: tuple[int, ...],
    progress: Progress,
    alone: bool,
) -> None:
    facts = path.with_suffix(".json")
    report = path.with_suffix(".bad.txt")
    for stale in (facts, report):
        stale.unlink(missing_ok=True)
    partial = PartialSamples(path, shape, alone)
    missing = partial.missing()
    there = len(files) - len(missing)
    work = functools.partial(_preprocess_into, partial.samples, partial.done, model.name)
    bad = for_each_chunk(
        work,
        [(i, files[i]) for i in missing],
        lambda done, _: progress(there + done, len(files)),
    )
    errors = sorted(error for chunk in bad for error in chunk)
    if errors:
        if len(errors) == len(files) or not alone:
            partial.remove()
        raise InputError(_told(errors, len(files), report))
    checksum = _checksum(partial.open())
    partial.finish()
    write_text(facts, json.dumps({"shape": shape, "crc32": checksum}))


def _told(errors: list[str], count: int, report: Path) -> str:
    """One line about the images that cannot be used; where there are several, a file names all."""
    if len(errors) == 1:
        return errors[0]
    write_text(report, "\n".join(errors) + "\n")
    return f"{errors[0]}, and {len(errors) - 1} more of {count} images cannot be used: see {report}"


def _preprocess_into(
    target: Path, marks: Path, model_name: str, files: Sequence[tuple[int, Path]]
) -> list[str]:
    """Write these samples; return a line for each image that cannot be used."""
    model = models.get(model_name)
    samples, done = open_part(target, marks)
    errors = []
    for i, file in files:
        try:
            samples[i] = model.preprocess(file)
        except InputError as error:
            errors.append(str(error))
            continue
        done[i] = 1
    return errors


def _is_whole(path: Path, shape: tuple[int, ...], say: Callable[..., None]) -> bool:
    if not path.exists():
        return False
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        samples = np.load(path, mmap_mode="r")
        if samples.shape != shape or samples.dtype != np.uint8:
            raise ValueError(f"holds {samples.dtype}{list(samples.shape)}")
        if _checksum(samples) != facts["crc32"]:
            raise ValueError("checksum differs")
    except Exception as error:  # whatever NumPy and JSON make of a damaged file
        say("%s: cached samples are unusable (%s), building them again", path, error)
        return False
    return True


def _checksum(samples: Pixels) -> int:
    """Return the CRC-32 of the samples, or of evenly spread ones where there are very many."""
    checksum = 0
    for sample in samples[:: 1 + samples.nbytes // CHECKED_BYTES]:
        checksum = zlib.crc32(sample, checksum)
    return checksum
