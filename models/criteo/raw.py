"""Criteo's own text files: label, 13 integers, 26 categories as hex digits, tab-separated.

They are turned into the reference's binary form (int32 [n, 40]) once, block by block, and go on
where they were interrupted. A category becomes `int(hex, 16) % max_ind_range`; by default that is
then numbered in the order in which it is first seen in its column (facebookresearch/dlrm,
data_utils.py). Networks all of whose tables have `max_ind_range` rows take it as it is.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from base.errors import InputError, quoted
from base.files import locked, put_in_place, write_text
from models.criteo.rows import COLUMNS
from models.criteo.shapes import DENSE, SPARSE
from models.workers import Progress, silent

BLOCK = 1 << 14
"""Rows that are read, checked and written together."""
SEED = 123
Numbers = list[dict[int, int]]
"""For each category's column the number of every value that was seen."""


def open_text(path: Path) -> IO[bytes]:
    """Open a text file or a gzip of one."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if file.peek(2)[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=file))
    return file


def blocks(path: Path, skip: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines of a file by blocks, with the number of the first line of each (from 1)."""
    with open_text(path) as file:
        number = 1
        try:
            for _ in range(skip):
                file.readline()
                number += 1
            while lines := list(itertools.islice(file, BLOCK)):
                yield number, lines
                number += len(lines)
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: damaged near line {number} ({error})") from None


def parse(path: Path, number: int, lines: Sequence[bytes], modulus: int) -> np.ndarray:
    """Return lines as int32 [n, 40], categories by the modulus. Raises InputError with the line."""
    rows = np.empty((len(lines), COLUMNS), np.int64)
    for at, line in enumerate(lines):
        words = line.rstrip(b"\r\n").split(b"\t")
        try:
            if len(words) != COLUMNS or words[0] not in (b"0", b"1"):
                raise ValueError
            rows[at, : 1 + DENSE] = [int(word or b"0") for word in words[: 1 + DENSE]]
            rows[at, 1 + DENSE :] = [int(w or b"0", 16) % modulus for w in words[1 + DENSE :]]
        except (ValueError, OverflowError):
            raise InputError(
                f"{path}: line {number + at} is {quoted(line)}, expected a label, {DENSE} integers "
                f"and {SPARSE} categories of hex digits, separated by tabs"
            ) from None
    if np.abs(rows).max(initial=0) >= 1 << 31:
        raise InputError(f"{path}: a number near line {number} does not fit 32 bits")
    return rows.astype("<i4")


def numbered(rows: np.ndarray, numbers: Numbers) -> np.ndarray:
    """Replace categories, in place, by their numbers in order of first sight."""
    for column, known in enumerate(numbers):
        values = rows[:, 1 + DENSE + column]
        rows[:, 1 + DENSE + column] = [known.setdefault(v, len(known)) for v in values.tolist()]
    return rows


def to_binary(
    path: Path,
    target: Path,
    modulus: int,
    by_first_sight: bool,
    progress: Progress = silent,
    left_out: float = 0.0,
) -> None:
    """Write a text file's rows to `target` as int32 [n, 40], unless it is there.

    Of those that were not clicked a part is `left_out`, at random; their categories count as seen.
    What an interrupted call has written is kept and goes on. `progress` counts MiB of the text (of
    a gzip none: its length is not known). Raises InputError.
    """
    if target.is_file():
        return
    with locked(target):
        if target.is_file():
            return
        # Not named as what `locked` removes of killed holders: it is there to go on with.
        aside = target.with_name(f".{target.name}.partial")
        seen = target.with_name(f".{target.name}.partial.json")
        numbers: Numbers = [{} for _ in range(SPARSE)]
        done = lines_done = 0
        options = [modulus, by_first_sight, left_out]
        try:
            found = json.loads(seen.read_text(encoding="ascii"))
            if found["options"] == options:
                numbers = [{v: i for i, v in enumerate(column)} for column in found["numbers"]]
                done, lines_done = int(found["rows"]), int(found["lines"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        aside.touch()
        if aside.stat().st_size < done * 4 * COLUMNS:
            numbers, done, lines_done = [{} for _ in range(SPARSE)], 0, 0
        total = path.stat().st_size >> 20
        read = 0
        with aside.open("r+b") as file:
            file.truncate(done * 4 * COLUMNS)
            file.seek(0, os.SEEK_END)
            for at, (number, lines) in enumerate(blocks(path, lines_done), 1):
                rows = parse(path, number, lines, modulus)
                rows = numbered(rows, numbers) if by_first_sight else rows
                if left_out:
                    rows = rows[_kept(rows, number, left_out)]
                file.write(rows.tobytes())
                done += len(rows)
                lines_done += len(lines)
                read += sum(map(len, lines))
                progress(min(read >> 20, total), total)
                if at % 64 == 0:
                    file.flush()
                    os.fsync(file.fileno())
                    _note(seen, done, lines_done, numbers, options)
        if done == 0:
            aside.unlink()
            raise InputError(f"{path}: is empty")
        put_in_place(aside, target)
        seen.unlink(missing_ok=True)


def _kept(rows: np.ndarray, number: int, left_out: float) -> np.ndarray:
    """Which rows stay: drawn anew for each block, whose first line has that number."""
    drawn = np.random.default_rng([SEED, number]).random(len(rows))
    kept: np.ndarray = (rows[:, 0] != 0) | (drawn >= left_out)
    return kept


def _note(path: Path, rows: int, lines: int, numbers: Numbers, options: Sequence[object]) -> None:
    noted = {
        "rows": rows,
        "lines": lines,
        "options": options,
        "numbers": [list(column) for column in numbers],
    }
    write_text(path, json.dumps(noted))
