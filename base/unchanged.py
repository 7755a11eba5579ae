"""Whether a file is still what it was when it was read, and what was read, kept as long as it is.

A file whose size, times and inode are the same has the same bytes; the time of the last change of
the inode is among them, because a copy that keeps the time of the content (`cp -p`, `rsync -t`)
changes that one alone.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from base.files import why_not_regular, write_text

Result = TypeVar("Result")

SETTLED_NS = 2_000_000_000
"""So long before it is read a file must have been left alone: the next change may come within the
resolution of the file system's clock, at most 2 s (FAT), and would leave no trace in its times."""

Facts = tuple[int, int, int, int]
"""Size, time of content and time of change in ns, inode."""


def facts_of(file: Path) -> Facts | None:
    """Return what distinguishes two states of a file; None if it is not a readable file."""
    try:
        found = file.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def settled(facts: Facts, now_ns: int) -> bool:
    """Whether a file with these facts, read at that time, cannot change without other facts."""
    _, content_ns, change_ns, _ = facts
    return change_ns <= now_ns - SETTLED_NS and abs(now_ns - content_ns) >= SETTLED_NS


def file_digest(file: Path) -> bytes:
    """Return the SHA-256 of a file's bytes. Raises OSError, also if it is not a regular file."""
    if trouble := why_not_regular(file):
        raise OSError(errno.EINVAL, trouble, str(file))
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


class OncePerFile(Generic[Result]):
    """A function of a file that reads it once, as long as the file is left alone.

    The result for the last file is kept, until another is read or `forget` is called.
    """

    def __init__(self, read: Callable[[Path], Result]) -> None:
        self._read = read
        self._kept: tuple[Path, Facts, Result] | None = None

    def __call__(self, file: Path) -> Result:
        """Return what was read of the file as it is now; raises what reading it raises."""
        before, now = facts_of(file), time.time_ns()
        if self._kept is not None and self._kept[:2] == (file, before):
            return self._kept[2]
        self.forget()
        result = self._read(file)
        if before is not None and settled(before, now) and facts_of(file) == before:
            self._kept = file, before, result
        return result

    def forget(self) -> None:
        """Drop the kept values, which may be large."""
        self._kept = None


sha256_of = OncePerFile(lambda file: file_digest(file).hex())
"""The SHA-256 of a file's bytes, in hexadecimal digits. Raises OSError as `file_digest` does."""


LARGE = 1 << 30
"""Bytes of a file from which on its digest is kept: reading it takes seconds to minutes."""


def kept_digest(file: Path, folder: Path) -> bytes:
    """The SHA-256 of a file's bytes, of a large one kept in `folder` while the file is left alone.

    Raises OSError as `file_digest` does.
    """
    before, now = facts_of(file), time.time_ns()
    if before is None or before[0] < LARGE:
        return bytes.fromhex(sha256_of(file))
    name = hashlib.sha256(str(file.resolve()).encode(errors="surrogateescape")).hexdigest()[:20]
    note = folder / "digests" / name
    wanted = " ".join(map(str, before))
    with suppress(OSError, ValueError):
        # Another user's word is not taken.
        if note.stat().st_uid == os.geteuid():
            facts, _, digest = note.read_text(encoding="ascii").rpartition(" ")
            if facts == wanted and len(digest) == 64:
                return bytes.fromhex(digest)
    found = file_digest(file)
    if settled(before, now) and facts_of(file) == before:
        with suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_text(note, f"{wanted} {found.hex()}")
    return found
