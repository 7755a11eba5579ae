"""Checksums of images, kept so that a data set is not read anew for every run.

For each folder of images the cache holds an index: size, times and inode of every file that was
read (see base.unchanged), with the SHA-256 of its bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.files import written_aside
from base.text import FOREIGN
from base.unchanged import Facts, facts_of, file_digest, settled
from models.imagenet.dataset import DataSet
from models.workers import Progress, silent

VERSION = 1
"""Of the index; another one is read as if there were none."""
SILENT_S = 1.0
"""Reading that takes less is not worth a word."""
UNREADABLE = bytes(32)
"""Instead of the checksum of a file that cannot be read: whoever decodes it says why."""


@dataclass(frozen=True)
class Content:
    """The SHA-256 of every image of a data set, in its order."""

    digests: list[bytes]

    @property
    def sha256(self) -> str:
        """Of the images' bytes in their order, whatever they are called and labelled."""
        return hashlib.sha256(b"".join(self.digests)).hexdigest()

    def with_labels(self, labels: list[int] | None) -> str:
        """Return a checksum of images and labels: two data sets that share it are the same."""
        digest = hashlib.sha256(b"".join(self.digests))
        if labels is not None:
            digest.update(" ".join(map(str, labels)).encode())
        return digest.hexdigest()


def content_of(dataset: DataSet, cache_dir: Path, progress: Progress = silent) -> Content:
    """Return the checksums of the images' bytes; only what is new or has changed is read.

    `progress` counts the images that are read, where that takes longer than a second. A file that
    cannot be read gets UNREADABLE. An index that cannot be written is done without.
    """
    index = _index_path(dataset.root, cache_dir)
    known = _read(index)
    names = [str(file).removeprefix(f"{dataset.root}/") for file in dataset.files]
    facts = [facts_of(file) for file in dataset.files]
    # A file may be listed more than once.
    unknown = {
        name: file
        for name, file, seen in zip(names, dataset.files, facts, strict=True)
        if name not in known or known[name][0] != seen
    }
    found = _read_all(unknown, progress)
    digests = [
        found[name].digest if name in found else bytes.fromhex(known[name][1]) for name in names
    ]
    new = {
        name: (result.facts, result.digest.hex())
        for name, result in found.items()
        if result.facts is not None
    }
    if new:
        kept = {n: entry for n, entry in known.items() if (dataset.root / n).exists()}
        with contextlib.suppress(OSError):
            _write(index, dataset.root, kept | new)
    return Content(digests)


def forget(dataset: DataSet, cache_dir: Path) -> None:
    """Have all images read anew the next time: their file system's times cannot be relied on."""
    with contextlib.suppress(OSError):
        _index_path(dataset.root, cache_dir).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Read:
    digest: bytes
    facts: Facts | None
    """None where they do not vouch for the bytes that were read."""


def _read_all(files: Mapping[str, Path], progress: Progress) -> dict[str, _Read]:
    if not files:
        return {}
    tell = _patient(progress)
    results: dict[str, _Read] = {}
    # Threads: hashing leaves Python's lock, and network file systems answer side by side.
    with ThreadPoolExecutor() as pool:
        for name, result in zip(files, pool.map(_read_one, files.values()), strict=True):
            results[name] = result
            tell(len(results), len(files))
    return results


def _patient(progress: Progress) -> Callable[[int, int], None]:
    began = time.monotonic()

    def tell(done: int, total: int) -> None:
        if time.monotonic() - began > SILENT_S and (done % 64 == 0 or done == total):
            progress(done, total)

    return tell


def _read_one(file: Path) -> _Read:
    before = facts_of(file)
    if before is None:
        return _Read(UNREADABLE, None)
    now = time.time_ns()
    try:
        digest = file_digest(file)
    except OSError:
        return _Read(UNREADABLE, None)
    vouch = settled(before, now) and facts_of(file) == before
    return _Read(digest, before if vouch else None)


def _index_path(root: Path, cache_dir: Path) -> Path:
    place = os.path.realpath(root).encode(errors=FOREIGN)
    return cache_dir / "hashes" / f"{hashlib.sha256(place).hexdigest()[:20]}.json"


def _read(index: Path) -> dict[str, tuple[Facts, str]]:
    """Return the entries of an index; none of one that is missing, damaged or of another kind."""
    try:
        head, _, body = index.read_bytes().partition(b"\n")
        described: Any = json.loads(head)
        if described["version"] != VERSION:
            return {}
        if described["sha256"] != hashlib.sha256(body).hexdigest():
            return {}
        return {name: (tuple(facts), digest) for name, (facts, digest) in json.loads(body).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _write(index: Path, root: Path, entries: Mapping[str, tuple[Facts, str]]) -> None:
    # ASCII: names may have bytes that are no characters, which JSON escapes and gives back.
    body = json.dumps(entries, separators=(",", ":")).encode("ascii")
    described = {
        "version": VERSION,
        "sha256": hashlib.sha256(body).hexdigest(),
        "folder": os.path.realpath(root),
    }
    index.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(index) as aside:
        aside.write_bytes(json.dumps(described).encode("ascii") + b"\n" + body)
