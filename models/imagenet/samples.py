"""Preprocessed samples, kept in one file that processes map instead of decoding images again."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import models
from base.errors import InputError
from base.files import locked, write_text
from base.text import FOREIGN
from base.unchanged import file_digest
from models.imagenet.content import Content, content_of, forget
from models.imagenet.dataset import DataSet
from models.imagenet.partial import PartialSamples, mark, open_part
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
    """Of the images' bytes and their labels."""
    images_sha256: str
    """Of the images' bytes alone."""

    def open(self) -> Pixels:
        """Return the samples uint8 [count, *shape], mapped read-only."""
        samples: Pixels = np.load(self.path, mmap_mode="r")
        return samples


def prepare_samples(
    model: Model,
    dataset: DataSet,
    cache_dir: Path,
    progress: Progress = silent,
    reading: Progress = silent,
) -> PreparedSamples:
    """Return the data set's samples for the model, preprocessed unless the cache holds them.

    They are found by the images' content. A cached file that is truncated or whose checksum differs
    is built again, with a warning in the log. What an interrupted call has preprocessed is kept and
    counts as done. `progress` is called only while building, `reading` while images are read that
    were not known. Raises InputError that names a bad image, and a file that names all where there
    are several: the others are kept, so that only those are left to do.
    """
    content = content_of(dataset, cache_dir, reading)
    folder = cache_dir / "samples"
    path = folder / f"{model.preprocessing}-{_key(content)}.npy"
    shape = (len(dataset), *model.sample.shape)
    # Found without a lock, so that a cache may be read-only.
    if not _is_whole(path, shape, _log.debug):
        name = folder / f"{model.preprocessing}-{_list_key(dataset)}"
        with locked(name) as alone:
            if not _is_whole(path, shape, _log.warning):
                _build(model, dataset, content, cache_dir, name, path, shape, progress, alone)
    return PreparedSamples(
        path,
        len(dataset),
        dataset.labels,
        dataset.name,
        dataset.synthetic,
        content.with_labels(dataset.labels),
        content.sha256,
    )


def _key(content: Content) -> str:
    # What was kept under the key of names and sizes must not be found.
    return hashlib.sha256(f"images {content.sha256}".encode()).hexdigest()[:20]


def _list_key(dataset: DataSet) -> str:
    """Name the list of images, whatever they hold: one that is repaired stays in its place."""
    files = "\0".join(map(str, [dataset.root.resolve(), *dataset.files]))
    return hashlib.sha256(files.encode(errors=FOREIGN)).hexdigest()[:20]


def _build(
    model: Model,
    dataset: DataSet,
    content: Content,
    cache_dir: Path,
    name: Path,
    path: Path,
    shape: tuple[int, ...],
    progress: Progress,
    alone: bool,
) -> None:
    facts = path.with_suffix(".json")
    report = name.with_name(f"{name.name}.bad.txt")
    for stale in (facts, report):
        stale.unlink(missing_ok=True)
    partial = PartialSamples(name, shape, alone)
    files, digests = dataset.files, content.digests
    missing = partial.missing(digests)
    there = len(files) - len(missing)
    work = functools.partial(_preprocess_into, partial.samples, partial.done, model.name)
    bad = for_each_chunk(
        work,
        [(i, files[i], digests[i]) for i in missing],
        lambda done, _: progress(there + done, len(files)),
    )
    refused = sorted(error for chunk in bad for error in chunk)
    if refused:
        if any(one.changed for one in refused):
            forget(dataset, cache_dir)
        if len(refused) == len(files) or not alone:
            partial.remove()
        raise InputError(_told([one.why for one in refused], len(files), report))
    checksum = _checksum(partial.open())
    partial.finish(path)
    write_text(facts, json.dumps({"shape": shape, "crc32": checksum}))


def _told(errors: list[str], count: int, report: Path) -> str:
    """One line about the images that cannot be used; where there are several, a file names all."""
    if len(errors) == 1:
        return errors[0]
    write_text(report, "\n".join(errors) + "\n")
    return f"{errors[0]}, and {len(errors) - 1} more of {count} images cannot be used: see {report}"


class _Refused(NamedTuple):
    """Why an image cannot be used, and whether it is another one than it was a moment ago."""

    why: str
    changed: bool


def _preprocess_into(
    target: Path, marks: Path, model_name: str, files: Sequence[tuple[int, Path, bytes]]
) -> list[_Refused]:
    """Write these samples; return what each image is refused for that cannot be used."""
    model = models.get(model_name)
    samples, done = open_part(target, marks)
    refused = []
    for i, file, digest in files:
        try:
            sample = model.preprocess(file)
        except InputError as error:
            refused.append(_Refused(str(error), False))
            continue
        # What was decoded must be what the key says: it may change while all this goes on.
        if not _still(file, digest):
            refused.append(_Refused(f"{file}: changed while it was read; run it again", True))
            continue
        samples[i] = sample
        done[i] = np.frombuffer(mark(digest, samples[i]), np.uint8)
    return refused


def _still(file: Path, digest: bytes) -> bool:
    try:
        return file_digest(file) == digest
    except OSError:
        return False


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
