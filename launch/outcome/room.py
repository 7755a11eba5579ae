"""Room for results, checked before a test begins: LoadGen does not report a full disk."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from base.errors import InputError

LOGS_BYTES = 8 << 20
"""Logs, configurations and run.json of a run, with room to spare; they are copied once."""
ANSWER_BYTES = 80
"""A line of mlperf_log_accuracy.json without the answer, which is written in hexadecimal."""
ACCURACY_COPIES = 3
"""The log itself, the newest one, and that of the second place of a SubmissionRun."""
FILES = 64
FULL = (errno.ENOSPC, errno.EDQUOT)


def results_bytes(accuracy_samples: int, response_bytes: int) -> int:
    """What a run writes into its results at most; `accuracy_samples` is 0 without accuracy."""
    line = ANSWER_BYTES + 2 * response_bytes
    return LOGS_BYTES + ACCURACY_COPIES * accuracy_samples * line


def need_space(directory: Path, needed: int, what: str, cure: str) -> None:
    """InputError unless `directory`, which need not exist yet, has `needed` bytes and some inodes.

    A file system that does not count its inodes has enough of them.
    """
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if largest != resource.RLIM_INFINITY and largest < min(needed, LOGS_BYTES // 2):
        raise InputError(
            f"{what} {directory}: this process may write {mebibytes(largest)} into one file, too"
            " little for LoadGen's logs (cure: ulimit -f unlimited)"
        )
    disk = os.statvfs(nearest(directory))
    free = free_bytes(disk)
    if free < needed:
        raise InputError(
            f"{what} {directory}: needs {mebibytes(needed)}, but its file system has"
            f" {mebibytes(free)} free ({cure})"
        )
    if disk.f_files and disk.f_favail < FILES:
        raise InputError(
            f"{what} {directory}: needs {FILES} files, but its file system has {disk.f_favail}"
            f" inodes free ({cure})"
        )


def nearest(directory: Path) -> Path:
    """Return the directory, or the nearest one above it that exists."""
    return next(place for place in (directory, *directory.parents) if place.exists())


def free_bytes(disk: os.statvfs_result) -> int:
    """What a file system still takes of a user who is not root."""
    return disk.f_bavail * disk.f_frsize


def mebibytes(size: int) -> str:
    """A size for people, e.g. ``8.0 MiB``."""
    return f"{size / 2**20:,.1f} MiB"


def room(place: Path) -> str:
    """What a file system without room lacks, in words: inodes, or bytes."""
    disk = os.statvfs(nearest(place))
    if disk.f_files and disk.f_favail == 0:
        return "0 inodes are free: it takes no more files, whatever their size"
    return f"{mebibytes(free_bytes(disk))} are free"


def describe_error(error: OSError) -> str:
    """An error of the file system in words, with the file it is about."""
    where = error.filename2 or error.filename
    return f"{where}: {error.strerror}" if where else f"{error.strerror or error}"
