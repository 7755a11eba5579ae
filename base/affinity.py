"""Keeping all threads of this process on some processors for a while (sched_setaffinity(2))."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TASKS = Path("/proc/self/task")


@contextmanager
def threads_kept_on(processors: Collection[int], tasks: Path = TASKS) -> Iterator[None]:
    """Keep every thread of this process on `processors`, also those that are started inside.

    Afterwards each has its own processors again. Nothing is done where `processors` is empty or the
    threads use no others; what the kernel refuses is left as it is.
    """
    before = {thread: mask for thread in _threads(tasks) if (mask := _affinity(thread))}
    wanted = set(processors)
    if not wanted or all(mask <= wanted for mask in before.values()):
        yield
        return
    mine = os.sched_getaffinity(0)
    for thread in before:
        _bind(thread, wanted)
    try:
        yield
    finally:
        for thread in _threads(tasks):
            # One that was started meanwhile has inherited the narrow mask.
            _bind(thread, before.get(thread, mine))


def _threads(tasks: Path) -> list[int]:
    return [int(entry.name) for entry in tasks.iterdir()]


def _affinity(thread: int) -> set[int]:
    """Its processors; empty where it has ended."""
    try:
        return os.sched_getaffinity(thread)
    except OSError:
        return set()


def _bind(thread: int, processors: Collection[int]) -> None:
    with suppress(OSError):
        os.sched_setaffinity(thread, processors)
