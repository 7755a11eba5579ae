"""Gets one published file: resumed where it stopped, checked, and only then under its name."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, BinaryIO

from base.errors import InputError
from base.files import locked, put_in_place
from launch.outcome.room import room
from models.published import PublishedFile

CHUNK = 1 << 18
TIMEOUT_S = 30.0
PATIENCE_S = (1.0, 2.0, 4.0, 8.0)
"""Waits before the next attempt; the count begins anew whenever bytes have arrived."""
PASSING = (408, 429, 500, 502, 503, 504)
"""HTTP codes of a server that may answer the next time."""
AT_ONCE = 8
"""Small files that are on their way together: most of their time is waiting."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

CERTIFICATE = (
    "its certificate is not trusted here: let SSL_CERT_FILE name the authorities of your network"
    " (a .pem file)"
)
_HTTP_CURES = {
    401: "it asks for a login",
    403: "it refuses this machine",
    404: "it is no longer there (--list shows the others)",
    407: "the proxy asks for a login: put it into the proxy's address (http://USER:PASSWORD@HOST)",
    410: "it is no longer there (--list shows the others)",
}
"""Cures for answers of a server after which trying again is no use."""

Progress = Callable[[int, int | None], None]
"""Told the bytes at hand and their total, where the server says it."""
Notice = Callable[[str], None]


def download(
    file: PublishedFile,
    directory: Path,
    progress: Progress,
    notice: Notice,
    patience_s: tuple[float, ...] = PATIENCE_S,
) -> bool:
    """Get `file` into `directory`; False if it was there already.

    What has arrived before an interruption is kept beside it and continued. Raises InputError for
    a server that cannot be reached or lacks the file, a wrong checksum, and a full disk.
    """
    target = directory / file.name
    try:
        with locked(target):
            return _Download(file, target, progress, notice, patience_s).run()
    except OSError as error:
        raise InputError(f"{target}: {error.strerror or error} (choose a folder: --to)") from None


def download_all(
    files: Sequence[PublishedFile],
    directory: Path,
    progress: Progress,
    notice: Notice,
    patience_s: tuple[float, ...] = PATIENCE_S,
) -> int:
    """Get many files into `directory`, several at once; returns how many were not there already.

    `progress` is called with files. Raises as `download`, of the first that failed; what arrived
    is kept.
    """

    def get(file: PublishedFile) -> bool:
        target = directory / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        return _Download(file, target, _unseen, notice, patience_s).run()

    new = 0
    try:
        # One lock for all of them: a file beside each would be as many again.
        with locked(directory / ".files"), ThreadPoolExecutor(AT_ONCE) as pool:
            running = {pool.submit(get, file) for file in files}
            try:
                for done, one in enumerate(as_completed(running), 1):
                    new += one.result()
                    progress(done, len(files))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except OSError as error:
        raise InputError(
            f"{error.filename or directory}: {error.strerror or error} (choose a folder: --to)"
        ) from None
    return new


def _unseen(done: int, total: int | None) -> None:
    """Of a small file among many."""


class _Download:
    def __init__(
        self,
        file: PublishedFile,
        target: Path,
        progress: Progress,
        notice: Notice,
        patience_s: tuple[float, ...],
    ) -> None:
        self.file = file
        self.target = target
        self.part = target.with_name(f".{target.name}.part")
        self.progress = progress
        self.notice = notice
        self.patience_s = patience_s

    def run(self) -> bool:
        checksum = self.file.checksum
        if checksum is None and self.file.record is not None:
            checksum = str(self._patiently(self._published_checksum))
        if self.target.exists():
            if not _matches(self.target, checksum):
                raise InputError(f"{self.target}: exists, but is not {checksum}; move it away")
            return False
        resumed = self.part.exists()
        self._patiently(self._transfer)
        if resumed and not _matches(self.part, checksum):
            self.notice("what an earlier attempt left does not fit: starting anew")
            self.part.unlink()
            self._patiently(self._transfer)
        if not _matches(self.part, checksum):
            self.part.unlink()
            raise InputError(f"{self.file.url}: what arrived is not {checksum}; it was removed")
        put_in_place(self.part, self.target)
        return True

    def _patiently(self, step: Callable[[], Any]) -> Any:
        failures = 0
        while True:
            before = self._size()
            try:
                return step()
            except urllib.error.HTTPError as error:
                if error.code not in PASSING:
                    answer = f"HTTP {error.code} {error.reason}"
                    cure = _HTTP_CURES.get(error.code, "the server does not give it")
                    raise self._unreachable(answer, cure) from None
                reason = f"HTTP {error.code}"
            except urllib.error.URLError as error:
                if isinstance(error.reason, ssl.SSLCertVerificationError):
                    raise self._unreachable(str(error.reason), CERTIFICATE) from None
                reason = str(getattr(error.reason, "strerror", None) or error.reason)
            except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self.part.unlink(missing_ok=True)
                raise InputError(
                    f"{self.target.parent}: {error.strerror} for {self.file.name}; nothing was "
                    f"kept: {_more_room(error, self.target.parent)}"
                ) from None
            failures = 1 if self._size() > before else failures + 1
            if failures > len(self.patience_s):
                raise self._unreachable(reason)
            self.notice(f"{reason}: trying again in {self.patience_s[failures - 1]:g} s")
            time.sleep(self.patience_s[failures - 1])

    def _unreachable(self, reason: str, cure: str | None = None) -> InputError:
        cure = cure or _other_way(self.file.url)
        return InputError(
            f"{self.file.url}: {reason}; {cure}, or download it elsewhere and put it at"
            f" {self.target}"
        )

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _published_checksum(self) -> str:
        assert self.file.record is not None
        with urllib.request.urlopen(self.file.record, timeout=TIMEOUT_S) as answer:
            text = answer.read()
        try:
            found = {entry["key"]: entry["checksum"] for entry in json.loads(text)["files"]}
            return str(found[self.file.name])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self.file.record}: no checksum of {self.file.name} there") from None

    def _transfer(self) -> None:
        """One request for the missing bytes; raises where the connection ends early."""
        have = self._size()
        request = urllib.request.Request(self.file.url)
        if have:
            request.add_header("Range", f"bytes={have}-")
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing is missing: the checksum decides
                return
            raise
        with answer:
            resumed = answer.status == 206 and str(
                answer.headers.get("Content-Range", "")
            ).startswith(f"bytes {have}-")
            with self.part.open("ab" if resumed else "wb") as part:
                self._copy(answer, part, have if resumed else 0)

    def _copy(self, answer: Any, part: BinaryIO, done: int) -> None:
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        self.progress(done, total)
        while chunk := answer.read(CHUNK):
            part.write(chunk)
            done += len(chunk)
            self.progress(done, total)
        part.flush()
        os.fsync(part.fileno())
        if total is not None and done < total:
            raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _other_way(url: str) -> str:
    """What to do about a server that cannot be reached: look at the proxy, or name one."""
    kind = urllib.parse.urlsplit(url).scheme
    proxy = urllib.request.getproxies().get(kind)
    if proxy and not urllib.request.proxy_bypass(urllib.parse.urlsplit(url).hostname or ""):
        return f"see whether the proxy of {kind}_proxy ({_without_password(proxy)}) is right"
    return f"see to the network (behind a proxy set {kind}_proxy)"


def _without_password(proxy: str) -> str:
    place = urllib.parse.urlsplit(proxy)
    return proxy.replace(f"{place.netloc}", place.netloc.rpartition("@")[2])


def _more_room(error: OSError, folder: Path) -> str:
    if error.errno == errno.EFBIG:
        return "raise the limit of a file's size (ulimit -f)"
    lacks = f" ({room(folder)})" if error.errno == errno.ENOSPC else ""
    return f"make room{lacks} or choose another folder (--to DIR)"


def _matches(path: Path, checksum: str | None) -> bool:
    """Whether a file is what was published; without a checksum its length, seen before, says so."""
    if checksum is None:
        return True
    kind, _, digits = checksum.partition(":")
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest().startswith(digits)
