"""Files of named arrays that several processes map at once: programs and compiled artifacts.

Layout (little endian)::

    offset      size   what
    0           8      magic b"LOADRUN\\x02" (the last byte is the format's version)
    8           8      length of the JSON header, uint64
    16          32     SHA-256 of the JSON header
    48          n      JSON: kind, facts, sha256 of the data, arrays: name -> dtype, shape, offset
    ...                zeros up to the next multiple of 4096
    data        ...    the arrays, each at a multiple of 64 (a cache line) from `data`

The data start on a page, so a read-only mapping of the file shares its pages between all the
processes that serve from it. Nothing in the file is executable, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.files import locked, reserve, try_writing_beside, write_text, written_aside

MAGIC = b"LOADRUN\x02"
HEADER = 48
PAGE = 4096
LINE = 64
PIECE = 64 << 20
Arrays = Mapping[str, NDArray[Any]]


UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, SyntaxError, OverflowError,
    RecursionError, MemoryError,
)  # fmt: skip
"""What JSON, dtypes and shapes of a hostile header may raise."""


class ArtifactError(Exception):
    """The file is missing, truncated, corrupt or of another kind; the message names it."""


@dataclass(frozen=True)
class Artifact:
    """An opened file: `facts` (JSON values) and read-only `arrays` that view the mapped file."""

    path: Path
    kind: str
    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def write(path: Path, kind: str, facts: Mapping[str, Any], arrays: Arrays) -> None:
    """Write `arrays` with `facts` to `path`: aside, then renamed, so nobody reads half of it.

    They are written one after the other, a piece at a time: an array may view a file that is larger
    than memory. Where a piece is zeros, a hole does.
    """
    plan = Plan(kind, facts, {n: (a.dtype.str, a.shape) for n, a in arrays.items()})
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside, aside.open("r+b") as file:
        reserve(aside, plan.start + plan.size, path)
        file.seek(plan.start)
        for array in arrays.values():
            for piece in _pieces(array):
                digest.update(piece.data)
                if piece.any():
                    file.write(piece.data)
                else:
                    file.seek(len(piece), os.SEEK_CUR)
        file.seek(0)
        file.write(plan.header(digest.hexdigest()))


class Plan:
    """Where everything of a file will lie, known before any of it is written.

    `arrays` are dtype and shape by name, in their order. The data begin at `start` and have `size`
    bytes, with the zeros that fill the last line of each array.
    """

    def __init__(
        self,
        kind: str,
        facts: Mapping[str, Any],
        arrays: Mapping[str, tuple[str, tuple[int, ...]]],
    ) -> None:
        self._described: dict[str, Any] = {"kind": kind, "facts": facts}
        self._index: dict[str, dict[str, Any]] = {}
        self.size = 0
        for name, (dtype, shape) in arrays.items():
            self._index[name] = {"dtype": dtype, "shape": list(shape), "offset": self.size}
            nbytes = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
            self.size += nbytes + -nbytes % LINE
        # All digests are equally long, so that the place of the data is known before theirs.
        start = len(self.header(hashlib.sha256().hexdigest()))
        self.start = start + -start % PAGE

    def header(self, digest: str) -> bytes:
        """What stands before the data, whose SHA-256 is `digest`."""
        described = {
            **self._described, "sha256": digest, "bytes": self.size, "arrays": self._index,
        }  # fmt: skip
        text = json.dumps(described).encode()
        return MAGIC + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest() + text


def _pieces(array: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    """The bytes of an array, and the zeros that fill its last line."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, len(flat), PIECE):
        yield flat[start : start + PIECE]
    yield np.zeros(-len(flat) % LINE, np.uint8)


def read(path: Path, kind: str) -> Artifact:
    """Map the file at `path`. Raises ArtifactError unless it is whole and of `kind`.

    The data are hashed (a second for 2 GB) unless `ensure` has done so since the file was last
    written, on this machine and as this user.
    """
    found = _read(path, kind)
    if not _verified(path):
        _verify(found)
    return found.artifact


@dataclass(frozen=True)
class _Mapped:
    artifact: Artifact
    data: memoryview
    sha256: str


def _read(path: Path, kind: str) -> _Mapped:
    view = _map(path)
    try:
        header, start = _header(view, kind)
        data = view[start : start + header["bytes"]]
        if len(data) != header["bytes"]:
            raise ValueError("is truncated")
        arrays = {name: _array(data, entry) for name, entry in header["arrays"].items()}
        artifact = Artifact(path, kind, dict(header["facts"]), arrays)
        return _Mapped(artifact, data, str(header["sha256"]))
    except UNREADABLE as error:
        raise ArtifactError(f"{path}: {quoted_error(error)}") from None


def _verify(mapped: _Mapped) -> None:
    if hashlib.sha256(mapped.data).hexdigest() != mapped.sha256:
        raise ArtifactError(f"{mapped.artifact.path}: is corrupt: its checksum does not match")


def read_facts(path: Path, kind: str) -> dict[str, Any]:
    """The facts of the file at `path`, from its header alone: the data may be anything.

    Raises ArtifactError as `read` does.
    """
    view = _map(path)
    try:
        return dict(_header(view, kind)[0]["facts"])
    except UNREADABLE as error:
        raise ArtifactError(f"{path}: {quoted_error(error)}") from None


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path}: cannot be opened ({reason})") from None


def _header(view: memoryview, kind: str) -> tuple[dict[str, Any], int]:
    """The header of a mapped file, and where its data begin; raises one of UNREADABLE."""
    if bytes(view[:8]) != MAGIC:
        raise ValueError("not an artifact of this version")
    end = HEADER + int.from_bytes(view[8:16], "little")
    text = bytes(view[HEADER:end])
    # It holds scales and shapes: a wrong digit there is as bad as one in the data.
    if hashlib.sha256(text).digest() != view[16:HEADER]:
        raise ValueError("is truncated or its header is corrupt")
    header: dict[str, Any] = json.loads(text)
    if header["kind"] != kind:
        raise ValueError(f"holds {header['kind']!r}, not {kind!r}")
    return header, end + -end % PAGE


def ensure(path: Path, kind: str, build: Callable[[], None], notice: Callable[[str], None]) -> bool:
    """Make sure that a whole file of `kind` is at `path`; returns whether it was built now.

    Of several processes one builds and the others wait, which `notice` is told, as it is told of
    a corrupt file that is built anew. A file that is whole is found without a lock, so a cache may
    be read-only. Raises InputError where a directory is in the way.
    """
    if _whole(path, kind):
        return False
    if path.is_dir():
        raise InputError(f"{path}: a directory is where a file belongs; delete it")
    with locked(path, lambda: notice(f"{path}: another process builds it; waiting for that")):
        if _whole(path, kind, notice):
            return False
        # It takes up to minutes, and writes at its end.
        try_writing_beside(path)
        build()
        # Now, while what was written is in memory, and once for all instances.
        _whole(path, kind)
    return True


def _whole(path: Path, kind: str, notice: Callable[[str], None] | None = None) -> bool:
    try:
        mapped = _read(path, kind)
        if not _verified(path):
            stamp = _stamp(path)
            _verify(mapped)
            # Where it cannot be kept, each instance verifies.
            with suppress(OSError):
                write_text(_stamp_file(path), stamp)
    except ArtifactError as error:
        if notice is not None and path.exists():
            notice(f"{error}: building it anew")
        return False
    return True


def _verified(path: Path) -> bool:
    """Whether the data were found to match their checksum, and the file is what it was then."""
    try:
        with _stamp_file(path).open(encoding="utf-8") as file:
            # Another user's word is not taken.
            ours = os.fstat(file.fileno()).st_uid == os.geteuid()
            return ours and file.read(200) == _stamp(path)
    except (OSError, ValueError):
        return False


def _stamp(path: Path) -> str:
    """What changes with every write to a file, and with every copy of it."""
    found = path.stat()
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return " ".join(map(str, facts))


def _stamp_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def quoted_error(error: BaseException) -> str:
    """What the error says, in one line that is not too long."""
    text = " ".join(str(error).split())
    return text if len(text) < 300 else f"{text[:300]}..."


def _array(data: memoryview, entry: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(entry["dtype"])
    if dtype.hasobject:
        raise ValueError("holds Python objects")
    count = int(np.prod(entry["shape"], dtype=np.int64))
    return np.frombuffer(data, dtype, count, int(entry["offset"])).reshape(entry["shape"])
