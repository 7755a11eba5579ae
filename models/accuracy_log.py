"""LoadGen's accuracy log, which may be larger than memory: answers are read when they are needed.

LoadGen writes a list with one entry on each line::

    [
    { "seq_id" : 3, "qsl_idx" : 8, "data" : "70030000" },
    ...
    ]

A volume of 64 MB is 128 MB there, 43 of them several GB. Logs of other harnesses may be laid out
otherwise: any JSON list of such entries will do, and is read as a whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from base.errors import InputError, quoted

_HEAD = re.compile(rb'\{ *"seq_id" *: *\d+ *, *"qsl_idx" *: *(\d+) *, *"data" *: *"')
_TAIL = re.compile(rb'"(?: *, *"[a-z_]+" *: *\d+)* *\} *,?\s*')
"""What stands around the digits of an answer."""


class LoggedAnswers(Mapping[int, bytes]):
    """The answers in a log by sample index; of several to one sample, the first counts.

    Raises InputError that names the log and what is wrong in it.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._places: dict[int, tuple[int, int]] = {}  # where the digits of each begin and end
        self._read: dict[int, bytes] = {}
        try:
            self._file: BinaryIO = log.open("rb")
            if not self._scan():
                self._read = _whole(log)
        except FileNotFoundError:
            raise InputError(f"{log}: no such accuracy log") from None
        except OSError as error:
            raise InputError(f"{log}: not an accuracy log of LoadGen ({error})") from None
        if not len(self):
            raise InputError(f"{log}: holds no answers (was the mode AccuracyOnly?)")

    def __getitem__(self, index: int) -> bytes:
        if index in self._read:
            return self._read[index]
        start, end = self._places[index]
        self._file.seek(start)
        try:
            return bytes.fromhex(self._file.read(end - start).decode("ascii"))
        except ValueError:
            raise InputError(
                f"{self._log}: the answer to sample {index} is no hex digits"
            ) from None

    def __len__(self) -> int:
        return len(self._places) + len(self._read)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places or self._read)

    def _scan(self) -> bool:
        """Note where each answer lies; False where the log is laid out otherwise."""
        at = 0
        for line in self._file:
            head = _HEAD.match(line)
            end = line.find(b'"', head.end()) if head else -1
            if head and _TAIL.fullmatch(line, end if end >= 0 else len(line)):
                self._places.setdefault(int(head[1]), (at + head.end(), at + end))
            elif line.strip() not in (b"[", b"]", b""):
                self._places.clear()
                return False
            at += len(line)
        return True


def digests(log: Path) -> list[tuple[int, bytes]]:
    """Sample index and SHA-256 of each answer in a log, in its order; repeated ones stand again.

    Answers are read one at a time where LoadGen wrote the log. Raises InputError for one that
    cannot be read.
    """
    try:
        with log.open("rb") as file:
            found = _digests(file)
        if found is None:
            entries = json.loads(log.read_bytes())
            found = [(int(e["qsl_idx"]), _digest(bytes.fromhex(e["data"]))) for e in entries]
        return found
    except OSError as error:
        raise InputError(f"{log}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{log}: not an accuracy log of LoadGen") from None


def _digests(file: BinaryIO) -> list[tuple[int, bytes]] | None:
    """None where the log is laid out otherwise."""
    found = []
    for line in file:
        head = _HEAD.match(line)
        end = line.find(b'"', head.end()) if head else -1
        if head and _TAIL.fullmatch(line, end if end >= 0 else len(line)):
            answer = bytes.fromhex(line[head.end() : end].decode("ascii"))
            found.append((int(head[1]), _digest(answer)))
        elif line.strip() not in (b"[", b"]", b""):
            return None
    return found


def _digest(answer: bytes) -> bytes:
    return hashlib.sha256(answer).digest()


def _whole(log: Path) -> dict[int, bytes]:
    try:
        entries = json.loads(log.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{log}: not an accuracy log of LoadGen ({error})") from None
    if not isinstance(entries, list):
        raise InputError(f"{log}: not an accuracy log of LoadGen (no list)")
    answers: dict[int, bytes] = {}
    for entry in entries:
        try:
            answers.setdefault(int(entry["qsl_idx"]), bytes.fromhex(entry["data"]))
        except (TypeError, KeyError, ValueError, OverflowError):
            raise InputError(f"{log}: not an entry of an accuracy log: {quoted(entry)}") from None
    return answers
