"""Artifacts written block by block: what a killed call has written is gone on with."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models import artifact, resumed
from models.resumed import Block

ARRAYS = {"numbers": ("<i4", (1000, 16)), "end": ("<f4", (3,))}
ROW = 64


def blocks(done: int, state: int | None) -> Iterator[Block]:
    """A thousand rows, each of the number that the state counts; then the end."""
    for row in range(done // ROW, 1000):
        state = (state or 0) + 1
        assert state == row + 1  # the state is that of the place
        yield Block(np.full(16, row, np.int32), state)
    yield Block(np.append(np.array([1, 2, 3], np.float32), np.zeros(13, np.float32)), state)


def check(path: Path) -> None:
    found = artifact.read(path, "test")
    assert (found.arrays["numbers"] == np.arange(1000)[:, None]).all()
    assert found.arrays["end"].tolist() == [1, 2, 3]
    assert [one.name for one in path.parent.iterdir() if ".partial" in one.name] == []


def test_what_is_written_is_an_artifact(tmp_path: Path) -> None:
    resumed.write(tmp_path / "a", "test", {"x": 1}, ARRAYS, blocks)
    check(tmp_path / "a")


def _killed_on_the_way(path: Path) -> None:
    resumed.NOTED = 100 * ROW

    def dying(done: int, state: int | None) -> Iterator[Block]:
        for number, block in enumerate(blocks(done, state)):
            if number == 550:
                os.kill(os.getpid(), signal.SIGKILL)
            yield block

    resumed.write(path, "test", {}, ARRAYS, dying)


def test_a_killed_call_is_gone_on_with(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_killed_on_the_way, args=(tmp_path / "a",)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    begun: list[int] = []

    def noting(done: int, state: int | None) -> Iterator[Block]:
        begun.append(done)
        return blocks(done, state)

    resumed.write(tmp_path / "a", "test", {}, ARRAYS, noting)
    assert begun == [500 * ROW]
    check(tmp_path / "a")


@pytest.mark.parametrize("what", ["data", "other facts"])
def test_what_is_not_what_was_noted_is_written_anew(what: str, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_killed_on_the_way, args=(tmp_path / "a",)
    )
    process.start()
    process.join()
    if what == "data":
        with (tmp_path / ".a.partial").open("r+b") as file:
            file.seek(artifact.PAGE + 10 * ROW)
            file.write(b"xx")
    begun: list[int] = []

    def noting(done: int, state: int | None) -> Iterator[Block]:
        begun.append(done)
        return blocks(done, state)

    facts = {"other": 1} if what == "other facts" else {}
    resumed.write(tmp_path / "a", "test", facts, ARRAYS, noting)
    assert begun == [0]
    check(tmp_path / "a")


def test_too_few_bytes_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64 bytes were given, 64,064 announced"):
        resumed.write(
            tmp_path / "a",
            "test",
            {},
            ARRAYS,
            lambda done, state: iter([Block(np.zeros(16, "i4"))]),
        )
    assert not (tmp_path / "a").exists()
