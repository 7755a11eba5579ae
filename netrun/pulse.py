"""Signs of life and progress within a batch, of tasks whose samples take long (`Task.stepwise`).

After each call of a part an instance shows in the control block how many rows it has run, how long
it has worked, and that it lives: a sample may take minutes, and nobody needs to wait for its end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from models.task import Array, Run
    from netrun.engines.rows import Given


class Shown(Protocol):
    """What of an instance's record (`shm.control.InstanceRecord`) tells of work."""

    steps: int
    busy_ns: int
    heartbeat_ns: int


class Pulse:
    """Counts the rows that parts have run; from `show_in` on, in a record."""

    def __init__(self) -> None:
        self._record: Shown | None = None
        self._steps = 0
        self._seen_ns = 0

    def show_in(self, record: Shown) -> None:
        """Show in this record what is done from now on."""
        self._record = record

    def begin(self) -> None:
        """A batch begins now."""
        self._seen_ns = time.monotonic_ns()

    def after(self, run: Run) -> Run:
        """`run`, with a sign of life after each call."""

        def stepping(**inputs: Given) -> Mapping[str, Array]:
            found = run(**inputs)
            self._beat(len(next(iter(inputs.values()))))
            return found

        return stepping

    def _beat(self, rows: int) -> None:
        self._steps += rows
        now, before, record = time.monotonic_ns(), self._seen_ns, self._record
        self._seen_ns = now
        if record is not None:
            record.steps = self._steps
            # The end of the batch sets what it took as a whole.
            record.busy_ns += now - before
            record.heartbeat_ns = now
