"""Calls an executor's kernels, and says on demand how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


class Laps:
    """Calls kernels by name; within `measured`, the time of each is taken."""

    def __init__(self) -> None:
        self._spent: dict[str, int] | None = None

    def __call__(self, name: str, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call a kernel; what it returns."""
        if self._spent is None:
            return call(*arguments)
        began = time.perf_counter_ns()
        found = call(*arguments)
        self._spent[name] = self._spent.get(name, 0) + time.perf_counter_ns() - began
        return found

    @contextmanager
    def measured(self) -> Iterator[dict[str, int]]:
        """Nanoseconds of each kernel, all its calls together, until the block ends."""
        spent: dict[str, int] = {}
        self._spent = spent
        try:
            yield spent
        finally:
            self._spent = None
