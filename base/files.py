"""Files and folders that appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from base.errors import InputError
from base.locks import lock
from base.text import printable


@contextmanager
def locked(target: Path, waiting: Callable[[], None] | None = None) -> Iterator[bool]:
    """Let one process at a time build `target`; others wait here and then find it built.

    The lock is on a file beside it and ends with its holder, however that ends; what a killed
    holder had written aside is removed. `waiting` is called before waiting for another process.
    Yields False where the file system has no locks and another may build at the same time: what is
    written aside has a name of its own then, too, and takes its place whole.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("wb") as file:
        try:
            alone = lock(file.fileno(), target.parent, wait=False)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            alone = lock(file.fileno(), target.parent)
        if alone:
            _remove_orphans(target)
        yield alone


def _remove_orphans(target: Path) -> None:
    for orphan in target.parent.glob(f"{glob.escape(_aside(target))}*"):
        if orphan.is_dir():
            shutil.rmtree(orphan, ignore_errors=True)
        else:
            orphan.unlink(missing_ok=True)


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


def try_writing_beside(target: Path) -> None:
    """Raise OSError unless files can be written aside of `target`: asked before a long build."""
    aside = _new_name(target)
    aside.touch(exist_ok=False)
    aside.unlink()


def put_in_place(aside: Path, target: Path) -> None:
    """Rename a file that is written to `target`, which may exist, once it is on the disk.

    The other way round, a machine that loses its power could keep the name without the contents.
    """
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(target)


def put_folder_in_place(folder: Path, target: Path) -> None:
    """Rename a folder of files to `target`, once they are on the disk; what is there goes.

    Of several processes that do so at once, without locks, one has its folder kept.
    """
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    if target.is_dir():
        old = _new_name(target)
        with suppress(FileNotFoundError):
            target.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(folder, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8 to `target`, foreign bytes of names as escapes: aside, then renamed."""
    with written_aside(target) as aside:
        aside.write_text(printable(text), encoding="utf-8")


@contextmanager
def folder_written_aside(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `target`, which must not exist, at the end."""
    aside = _new_name(target)
    aside.mkdir()
    try:
        yield aside
        try:
            aside.rename(target)
        except OSError:
            # Without locks another process can have been quicker.
            if not target.is_dir():
                raise
            shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def why_not_regular(path: Path) -> str | None:
    """Say why a path is no file to be read; None for one that is.

    To be asked before a file that others name is opened: a FIFO would wait for a writer, and a
    device may never end. Raises no OSError.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        dangling = isinstance(error, FileNotFoundError) and path.is_symlink()
        return "a link that leads nowhere" if dangling else error.strerror or str(error)
    if stat.S_ISREG(mode):
        return None
    return _KINDS.get(stat.S_IFMT(mode), "no regular file")


_KINDS = {
    stat.S_IFDIR: "a directory, no file",
    stat.S_IFIFO: "a FIFO, no file",
    stat.S_IFSOCK: "a socket, no file",
    stat.S_IFCHR: "a device, no file",
    stat.S_IFBLK: "a device, no file",
}


def reserve(file: Path, size: int, target: Path) -> None:
    """Claim `size` bytes for `file`, which will become `target`, before they are written.

    Raises InputError with the needed and the available size: a mapped file that finds the disk
    full ends its process, and a half-written one names no sizes.
    """
    with file.open("r+b") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, size)
        except OSError as error:
            mebibytes = f"{target}: needs {size / 2**20:,.1f} MiB"
            choose = "choose another place for the cache with LOADRUN_CACHE"
            if error.errno == errno.EFBIG:
                raise InputError(
                    f"{mebibytes}, more than this process may write into one file (cure: ulimit -f"
                    " unlimited)"
                ) from None
            disk = os.fstatvfs(opened.fileno())
            if error.errno == errno.ENOSPC and not (disk.f_files and disk.f_favail == 0):
                free = f"{disk.f_bavail * disk.f_frsize / 2**20:,.1f} MiB free"
                raise InputError(
                    f"{mebibytes}, but its file system has {free} ({error.strerror}; {choose})"
                ) from None
            why = "0 inodes are free" if error.errno == errno.ENOSPC else error.strerror
            raise InputError(f"{mebibytes}, which cannot be had ({why}; {choose})") from None


def _aside(target: Path) -> str:
    return f".{target.name}.aside-"


def _new_name(target: Path) -> Path:
    return target.with_name(f"{_aside(target)}{secrets.token_hex(4)}")
