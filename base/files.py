"""Files and folders that appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from base.errors import InputError


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
    """Yield the path of an empty file to write; it takes target's place when all went well.

    Its permissions are those of any new file. Where something goes wrong, nothing is left; an
    OSError that is about the file names `target`. The folder must exist.
    """
    aside = _new_name(target)
    try:
        aside.touch(exist_ok=False)
        yield aside
        put_in_place(aside, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename == str(aside):
            error.filename = str(target)
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def put_in_place(aside: Path, target: Path) -> None:
    """Rename a file that is written to `target`, which may exist, once it is on the disk.

    The other way round, a machine that loses its power could keep the name without the contents.
    """
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(target)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8 to `target`: aside, then renamed."""
    with written_aside(target) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def folder_written_aside(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `target`, which must not exist, at the end."""
    aside = _new_name(target)
    aside.mkdir()
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
            raise InputError(
                f"{target}: needs {size / 2**20:,.1f} MiB, but its file system has"
                f" {disk.f_bavail * disk.f_frsize / 2**20:,.1f} MiB free ({error.strerror}; choose"
                " another place for the cache with LOADRUN_CACHE)"
            ) from None


def _aside(target: Path) -> str:
    return f".{target.name}.aside-"


def _new_name(target: Path) -> Path:
    return target.with_name(f"{_aside(target)}{secrets.token_hex(4)}")
