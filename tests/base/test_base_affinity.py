"""Threads of this process are kept on some processors for a while, and let go again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from base.affinity import threads_kept_on

ALLOWED = sorted(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(len(ALLOWED) < 2, reason="one processor leaves no choice")


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    """A thread that was there before."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield pool


def mine() -> list[int]:
    return sorted(os.sched_getaffinity(threading.get_native_id()))


def test_every_thread_is_kept_and_gets_its_own_processors_back(other: ThreadPoolExecutor) -> None:
    other.submit(os.sched_setaffinity, 0, ALLOWED[:1]).result()
    with threads_kept_on(ALLOWED[1:2]):
        assert mine() == ALLOWED[1:2]
        assert other.submit(mine).result() == ALLOWED[1:2]
    assert mine() == ALLOWED
    assert other.submit(mine).result() == ALLOWED[:1]


def test_threads_started_meanwhile_are_kept_and_let_go() -> None:
    with ThreadPoolExecutor(1) as pool:
        with threads_kept_on(ALLOWED[:1]):
            assert pool.submit(mine).result() == ALLOWED[:1]
        assert pool.submit(mine).result() == ALLOWED


def test_processors_come_back_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError), threads_kept_on(ALLOWED[:1]):
        _ = 1 / 0
    assert mine() == ALLOWED


@pytest.mark.parametrize("processors", [[], ALLOWED, [*ALLOWED, 100_000]])
def test_nothing_is_done_where_no_other_is_used(
    processors: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_setaffinity", lambda *arguments: pytest.fail("bound"))
    with threads_kept_on(processors):
        assert mine() == ALLOWED


def test_what_the_kernel_refuses_and_threads_that_have_ended_are_left(tmp_path: Path) -> None:
    for thread in (threading.get_native_id(), 2**22 + 1):
        (tmp_path / str(thread)).mkdir()
    with threads_kept_on([100_000], tmp_path):
        assert mine() == ALLOWED
    with threads_kept_on(ALLOWED[:1], tmp_path):
        assert mine() == ALLOWED[:1]
    assert mine() == ALLOWED
