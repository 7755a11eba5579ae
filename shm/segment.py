"""Named POSIX shared-memory segments, with their space reserved before they are mapped."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

import posix_ipc

from shm.closing import Closing

SHM_DIRECTORY = "/dev/shm"
MODE = 0o600

_RUN_ID = re.compile(r"[a-z0-9]{4,32}")
_PART = re.compile(r"[a-z]+[0-9]*")


class ShmError(Exception):
    """Shared memory that cannot be created, attached or understood; the message names it."""


class SegmentMissing(ShmError):  # noqa: N818 - an ordinary condition while a run starts
    """The segment does not exist, or its creator has not finished it yet: worth a retry."""


class DirectoryError(ShmError):
    """`/dev/shm` does not take new files from this process; the message names the cure."""


class SpaceError(DirectoryError):
    """`/dev/shm` has no room for a segment or semaphore.

    `needed` and `available` are in bytes.
    """

    def __init__(self, name: str, needed: int, available: int) -> None:
        self.needed = needed
        self.available = available
        super().__init__(
            f"{name}: needs {_mebibytes(needed)} of shared memory, but {SHM_DIRECTORY} has "
            f"{_mebibytes(available)} free; start the container with a larger --shm-size, or run "
            f"'mount -o remount,size=<larger> {SHM_DIRECTORY}'"
        )


class InodesError(DirectoryError):
    """`/dev/shm` takes no more files, whatever their size."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name}: cannot be created: {SHM_DIRECTORY} has 0 inodes free, and a run needs some"
            f" files; remove files nobody needs ('ls -l {SHM_DIRECTORY}'), or, as root, run"
            f" 'mount -o remount,nr_inodes=<more> {SHM_DIRECTORY}'"
        )


def segment_name(run_id: str, part: str) -> str:
    """Return `/loadrun.<run id>.<part>`; ValueError for a malformed run id or part."""
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"run id {run_id!r}: expected 4 to 32 of the characters a-z and 0-9")
    if not _PART.fullmatch(part):
        raise ValueError(f"segment part {part!r}: expected letters a-z, then digits")
    return f"/loadrun.{run_id}.{part}"


class Segment(Closing):
    """One mapped segment: `create` makes and owns it, `attach` maps an existing one.

    `buf` is a memoryview of bytes over the whole of `size` bytes (read-only if attached so).
    """

    def __init__(self, name: str, mapping: mmap.mmap, creator: bool) -> None:
        self.name = name
        self.size = len(mapping)
        self.buf = memoryview(mapping)
        self._mapping: mmap.mmap | None = mapping
        self._creator = creator

    @classmethod
    def create(cls, name: str, size: int) -> Segment:
        """Create a zeroed segment of `size` bytes, mode 0600, its space reserved.

        SpaceError when `/dev/shm` is too small for it (without the reservation the first write to
        a page that has no room would be SIGBUS), DirectoryError when it is not to be written to,
        ShmError when the name is taken. Whatever fails, the name is removed again.
        """
        if size <= 0:
            raise ValueError(f"{name}: size {size}: expected a positive number of bytes")
        with creating(name, size):
            shared = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=MODE)
        try:
            _reserve(name, shared.fd, size)
            mapping = _mapped(name, shared.fd, size, mmap.ACCESS_WRITE)
        except BaseException:
            posix_ipc.unlink_shared_memory(name)
            raise
        finally:
            shared.close_fd()
        return cls(name, mapping, creator=True)

    @classmethod
    def attach(cls, name: str, writable: bool = True) -> Segment:
        """Map an existing segment; SegmentMissing while it is absent or still without its size."""
        try:
            shared = posix_ipc.SharedMemory(name, read_only=not writable)
        except posix_ipc.ExistentialError:
            raise SegmentMissing(f"{name}: no such shared-memory segment") from None
        except posix_ipc.PermissionsError:
            if not os.access(SHM_DIRECTORY, os.X_OK):
                # Nobody of ours can have made it: it is as good as absent.
                raise SegmentMissing(f"{name}: {SHM_DIRECTORY} is closed to this user") from None
            raise ShmError(f"{name}: belongs to another user") from None
        except OSError as error:
            if not Path(SHM_DIRECTORY).is_dir():
                raise SegmentMissing(f"{name}: no such shared-memory segment") from None
            raise ShmError(f"{name}: cannot be opened: {error.strerror or error}") from None
        try:
            size = os.fstat(shared.fd).st_size
            if size == 0:
                raise SegmentMissing(f"{name}: is still being created")
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            mapping = _mapped(name, shared.fd, size, access)
        finally:
            shared.close_fd()
        return cls(name, mapping, creator=False)

    def close(self) -> None:
        """Unmap; idempotent.

        Views that a caller still holds keep the mapping alive (never dangling): it then goes with
        the last of them instead of now.
        """
        mapping, self._mapping = self._mapping, None
        if mapping is None:
            return
        buf, self.buf = self.buf, memoryview(b"")
        with contextlib.suppress(BufferError):
            buf.release()
        with contextlib.suppress(BufferError):
            mapping.close()

    def unlink(self) -> None:
        """Remove the name; idempotent, and nothing unless this object created the segment."""
        if not self._creator:
            return
        self._creator = False
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_shared_memory(self.name)


@contextlib.contextmanager
def creating(name: str, size: int) -> Iterator[None]:
    """Say what a failed shm_open or sem_open of a new `name`, `size` bytes, means for the user."""
    try:
        yield
    except posix_ipc.ExistentialError:
        if trouble := directory_trouble():
            raise DirectoryError(f"{name}: cannot be created: {trouble}") from None
        raise ShmError(f"{name}: exists already; a run id names one run") from None
    except posix_ipc.PermissionsError:
        raise _not_writable(name, errno.EACCES) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            if _no_inodes(SHM_DIRECTORY):
                raise InodesError(name) from None
            raise SpaceError(name, size, _available(SHM_DIRECTORY)) from None
        if error.errno in (errno.EROFS, errno.EPERM):
            raise _not_writable(name, error.errno) from None
        if trouble := directory_trouble():
            raise DirectoryError(f"{name}: cannot be created: {trouble}") from None
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise DirectoryError(
                f"{name}: cannot be created: {error.strerror} (more with ulimit -n)"
            ) from None
        raise ShmError(f"{name}: cannot be created: {error.strerror or error}") from None


def directory_trouble() -> str | None:
    """What is wrong with `/dev/shm` where it is no directory, with the cure; None where it is."""
    path = Path(SHM_DIRECTORY)
    if path.is_dir():
        return None
    there = "is no directory" if os.path.lexists(path) else "is not there"
    return (
        f"{SHM_DIRECTORY} {there}; as root, run 'mkdir -p {SHM_DIRECTORY} &&"
        f" mount -t tmpfs -o size=256m,mode=1777 tmpfs {SHM_DIRECTORY}', or start the container"
        " with --shm-size 256m"
    )


def _not_writable(name: str, code: int) -> DirectoryError:
    return DirectoryError(
        f"{name}: cannot be created in {SHM_DIRECTORY}: {os.strerror(code)}; as root, run "
        f"'mount -o remount,rw,mode=1777 {SHM_DIRECTORY}'"
    )


def _reserve(name: str, fd: int, size: int) -> None:
    # Asked first: where /dev/shm is larger than the memory, a hopeless posix_fallocate would take
    # all of that memory before it failed.
    available = _available(fd)
    if size > available:
        raise SpaceError(name, size, available)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise SpaceError(name, size, _available(fd)) from error
        if error.errno == errno.EFBIG:
            raise DirectoryError(
                f"{name}: needs {_mebibytes(size)}, more than this process may write into one file"
                " (cure: ulimit -f unlimited)"
            ) from None
        raise ShmError(f"{name}: cannot reserve {_mebibytes(size)}: {error.strerror}") from error


def _mapped(name: str, fd: int, size: int, access: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size, access=access)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise DirectoryError(
            f"{name}: {_mebibytes(size)} more are beyond the address space that this process may"
            " have (cure: ulimit -v unlimited)"
        ) from None


def _available(place: int | str) -> int:
    file_system = os.statvfs(place)
    return file_system.f_bavail * file_system.f_frsize


def _no_inodes(place: str) -> bool:
    file_system = os.statvfs(place)
    return file_system.f_files > 0 and file_system.f_favail == 0


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB ({size} bytes)"
