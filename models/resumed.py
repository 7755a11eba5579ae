"""Artifacts of a hundred gigabytes: written block by block, and gone on with where that ended.

What is written lies beside the file, `.<name>.partial`, with a note of how much of it is whole and
what its checksum is. A call that finds them reads it once, and goes on behind it; the file takes
its place whole, as any artifact's.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from base.files import put_in_place, reserve, write_text
from models.artifact import PIECE, Plan
from models.workers import Progress, silent

NOTED = 512 << 20
"""Bytes between two notes: what an interrupted call repeats at most."""
State = Any
"""JSON values: what the blocks behind a place depend on."""


class Block(NamedTuple):
    """Some of the data, and what those behind them depend on."""

    data: NDArray[Any]
    state: State = None


Blocks = Callable[[int, State], Iterator[Block]]
"""The data from a number of bytes on, with the state that was noted there (None at the start)."""


def write(
    path: Path,
    kind: str,
    facts: Mapping[str, Any],
    arrays: Mapping[str, tuple[str, tuple[int, ...]]],
    blocks: Blocks,
    progress: Progress = silent,
) -> None:
    """Write an artifact of `arrays`, dtype and shape by name, from what `blocks` gives.

    The blocks are the arrays' bytes in order, with zeros up to the next line behind each array.
    `progress` counts MiB. For one process at a time. Raises InputError where the disk is full.
    """
    plan = Plan(kind, facts, arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    note = path.with_name(f".{path.name}.partial.json")
    key = hashlib.sha256(plan.header("")).hexdigest()
    aside.touch()
    reserve(aside, plan.start + plan.size, path)
    total = plan.size >> 20
    with aside.open("r+b") as file:
        done, state, digest = _found(note, key, file, plan.start)
        file.seek(plan.start + done)
        noted = done
        progress(done >> 20, total)
        for block in blocks(done, state):
            data = np.ascontiguousarray(block.data).reshape(-1).view(np.uint8)
            digest.update(data.data)
            file.write(data.data)
            done += len(data)
            if done - noted >= NOTED:
                file.flush()
                os.fsync(file.fileno())
                _note(note, key, done, digest.hexdigest(), block.state)
                noted = done
            progress(done >> 20, total)
        if done != plan.size:
            raise ValueError(f"{path}: {done:,} bytes were given, {plan.size:,} announced")
        file.seek(0)
        file.write(plan.header(digest.hexdigest()))
    put_in_place(aside, path)
    note.unlink(missing_ok=True)


def _found(note: Path, key: str, file: Any, start: int) -> tuple[int, State, Any]:
    """What is there: its bytes, the state behind it, and its digest, where it is what was noted."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads(note.read_text(encoding="utf-8"))
        if noted["key"] == key:
            digest, left = hashlib.sha256(), int(noted["bytes"])
            file.seek(start)
            while left > 0 and (read := file.read(min(PIECE, left))):
                digest.update(read)
                left -= len(read)
            if digest.hexdigest() == noted["sha256"]:
                return int(noted["bytes"]), noted["state"], digest
    return 0, None, hashlib.sha256()


def _note(path: Path, key: str, done: int, digest: str, state: State) -> None:
    write_text(path, json.dumps({"key": key, "bytes": done, "sha256": digest, "state": state}))
