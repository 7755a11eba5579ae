"""Locks between processes, on file systems that have them.

Lustre mounted without flock, NFS without its lock daemon and some FUSE file systems refuse every
lock; NFS takes an exclusive one only on a file open for writing, which a directory never is.
"""

from __future__ import annotations

import errno
import fcntl
import logging

WITHOUT = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EBADF,
    errno.EPERM,
    errno.EACCES,
    errno.EIO,
    errno.EISDIR,
    errno.ENOTTY,
    errno.EREMOTEIO,
)
"""What file systems without locks say."""

_log = logging.getLogger(__name__)


def lock(descriptor: int, where: object, wait: bool = True) -> bool:
    """Take the exclusive lock of an open file, which ends with it; False where there are no locks.

    That is logged once for each `where`, as a warning. Raises BlockingIOError where
    another process holds the lock and it is not to be waited for.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in WITHOUT:
            raise
        _warn_once(str(where), error.strerror or str(error))
        return False
    return True


_warned: set[str] = set()


def _warn_once(where: str, reason: str) -> None:
    if where not in _warned:
        _warned.add(where)
        _log.warning(
            "%s: its file system has no locks (%s): going on without; do not start two at once"
            " that write there",
            where,
            reason,
        )
