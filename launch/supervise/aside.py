"""Keeps the supervising process off the instances' processors while a test runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from launch.machine.plan import Plan, unused
from launch.machine.topology import Topology


def aside_of(topology: Topology, plan: Plan) -> tuple[int, ...]:
    """Where launch stays: on cores that nobody has, else on loadrun's processors.

    Idle SMT siblings are no place: what runs there slows the instance on the other thread.
    """
    cores, _ = unused(topology, plan)
    return tuple(cores) or plan.loadrun


class Aside:
    """While entered, the calling thread runs on `processors` only; none leaves it where it is.

    A system that forbids it changes nothing.
    """

    def __init__(self, processors: Sequence[int]) -> None:
        self._processors = processors
        self._before: set[int] | None = None

    def __enter__(self) -> Aside:
        with contextlib.suppress(OSError):
            before = os.sched_getaffinity(0)
            if self._processors:
                os.sched_setaffinity(0, self._processors)
                self._before = before
        return self

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            os.sched_setaffinity(0, self._before)
            self._before = None

    @contextlib.contextmanager
    def left(self) -> Iterator[None]:
        """Start a process inside this block: it inherits the affinity of before."""
        if self._before is None:
            yield
            return
        os.sched_setaffinity(0, self._before)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self._processors)
