"""Files and folders that are built once and appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import InputError


@contextmanager
def locked(target: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Let one process at a time build `target`; others wait here and then find it built.

    The lock is on a file beside it and ends with its holder, however that ends; what a killed
    holder had written aside is removed. `waiting` is called before waiting for another process.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        for orphan in target.parent.glob(f"{glob.escape(_aside(target))}*"):
            if orphan.is_dir():
                shutil.rmtree(orphan, ignore_errors=True)
            else:
                orphan.unlink(missing_ok=True)
        yield


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Yield the path of a file to write; it takes target's place when all went well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_aside(target), dir=target.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def try_writing_beside(target: Path) -> None:
    """Raise OSError unless files can be written aside of `target`: asked before a long build."""
    handle, name = tempfile.mkstemp(prefix=_aside(target), dir=target.parent)
    os.close(handle)
    Path(name).unlink()


@contextmanager
def folder_written_aside(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `target`, which must not exist, at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=_aside(target), dir=target.parent))
    try:
        yield aside
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def reserve(file: Path, size: int, target: Path) -> None:
    """Claim `size` bytes for `file`, which will become `target`, before they are written.

    Raises InputError with the needed and the available size: a mapped file that finds the disk
    full ends its process, and a half-written one tells no sizes.
    """
    with file.open("r+b") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, size)
        except OSError as error:
            disk = os.fstatvfs(opened.fileno())
            mebibytes = f"{target}: needs {size / 2**20:,.1f} MiB"
            choose = "choose another place for the cache with LOADRUN_CACHE"
            if error.errno == errno.EFBIG:
                limit = "is more than a file may have here (raise the limit: ulimit -f)"
                raise InputError(f"{mebibytes}, which {limit}") from None
            if error.errno == errno.ENOSPC and not (disk.f_files and disk.f_favail == 0):
                free = f"{disk.f_bavail * disk.f_frsize / 2**20:,.1f} MiB free"
                raise InputError(
                    f"{mebibytes}, but its file system has {free} ({error.strerror}; {choose})"
                ) from None
            why = "0 inodes are free" if error.errno == errno.ENOSPC else error.strerror
            raise InputError(f"{mebibytes}, which cannot be had ({why}; {choose})") from None


def _aside(target: Path) -> str:
    return f".{target.name}.aside-"
