"""Tries, before a command begins, whether what it writes at its end can be written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from base.errors import InputError
from launch.outcome.room import nearest


def try_file(path: Path, what: str, cure: str, *, makes_folders: bool = True) -> None:
    """InputError unless the file `path` can be written aside and take its place.

    `makes_folders`: whoever writes it makes the folders above it. Nothing is left behind.
    """
    if path.is_dir():
        raise _refused(path, what, "is a directory", cure)
    folder = path.parent
    if not makes_folders and not folder.is_dir():
        raise _refused(path, what, f"{folder} is no directory", cure)
    _try_in(nearest(folder), path.name, path, what, cure)
    if folder.is_dir():
        _try_replacing(path, what, cure)


def try_folder(place: Path, what: str, cure: str) -> None:
    """InputError unless a folder, built somewhere else, can be put in the place of `place`."""
    if place.is_dir() and os.path.ismount(place):
        raise _refused(place, what, "is a mount point and cannot be replaced", cure)
    _try_in(nearest(place.parent), place.name, place, what, cure)
    if place.exists():
        _try_replacing(place, what, cure)
        # Whoever moves a folder changes its entry "..".
        if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise _refused(place, what, os.strerror(errno.EACCES), cure)


def _try_in(folder: Path, name: str, path: Path, what: str, cure: str) -> None:
    """Make a file with a byte in it in `folder` and remove it again."""
    if not folder.is_dir():
        raise _refused(folder, what, "is no directory", cure)
    # A long name leaves no room for a file written aside: fail now.
    try:
        handle, probe = tempfile.mkstemp(prefix=f".{name}.", suffix=".aside", dir=folder)
    except OSError as error:
        raise _refused(path, what, error.strerror or str(error), cure) from None
    try:
        os.write(handle, b"0")
    except OSError as error:
        raise _refused(path, what, error.strerror or str(error), cure) from None
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            Path(probe).unlink()


def _try_replacing(path: Path, what: str, cure: str) -> None:
    """In a sticky folder only the owner of a file, or of the folder, may replace it."""
    try:
        there, folder = path.lstat(), path.parent.stat()
    except OSError:
        return
    mine = {0, there.st_uid, folder.st_uid}
    if folder.st_mode & stat.S_ISVTX and os.geteuid() not in mine:
        raise _refused(path, what, "belongs to another user", cure)


def _refused(path: Path, what: str, reason: str, cure: str) -> InputError:
    return InputError(f"{what} {path}: {reason} ({cure})")
