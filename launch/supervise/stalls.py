"""Tells a process that has stopped from one that works on a long batch.

An instance gives a sign of life (`heartbeat_ns` in the control block) after each batch and five
times a second while it has none. Two things are taken for its end:

- it is stopped (state T: SIGSTOP, a debugger, a frozen terminal) for the stall limit;
- it is silent for the stall limit and `PATIENCE` times as long as its batches take by its own rate.

Time is counted in the steps in which it is looked at, none longer than `LONGEST_STEP_S`: where the
whole machine slept, or launch itself was stopped, nobody else is blamed for the gap.
"""

from __future__ import annotations

from pathlib import Path

from launch.supervise.deaths import Cause, End

PATIENCE = 20
"""A batch may take so many times its usual time: other work on its processors slows it."""
LONGEST_STEP_S = 1.0


class Silence:
    """Watches one process; `limit_s` is the stall limit.

    `stops` are the (from, to) between which it was seen stopped, to the step of `look`, in s.
    """

    def __init__(self, pid: int, limit_s: float) -> None:
        self._pid = pid
        self._limit_s = limit_s
        self._seen: int | None = None
        self._looked: float | None = None
        self._silent_s = 0.0
        self._stopped_s = 0.0
        self.stops: list[tuple[float, float]] = []

    def look(self, now: float, heartbeat: int | None, batch_s: float | None) -> End | None:
        """The fault of the process, STOPPED or SILENT; None while there is none.

        `now` is in seconds. `heartbeat` changes with every sign of life; None is never one.
        `batch_s` is how long a full batch usually takes; None where the process does not serve, so
        that only a stop counts.
        """
        before = now if self._looked is None else self._looked
        step_s = min(now - before, LONGEST_STEP_S)
        self._looked = now
        if heartbeat is not None and heartbeat != self._seen:
            self._seen = heartbeat
            self._silent_s = self._stopped_s = 0.0
            return None
        self._silent_s += step_s
        if is_stopped(self._pid):
            self._note_stop(before, now)
            self._stopped_s += step_s
        else:
            self._stopped_s = 0.0
        if self._stopped_s >= self._limit_s:
            return End(Cause.STOPPED, f"was stopped for {self._stopped_s:.1f} s")
        if batch_s is not None and self._silent_s >= max(self._limit_s, PATIENCE * batch_s):
            return End(Cause.SILENT, f"gave no sign of life for {self._silent_s:.1f} s")
        return None

    def _note_stop(self, before: float, now: float) -> None:
        if self.stops and self.stops[-1][1] == before:
            before = self.stops.pop()[0]
        self.stops.append((before, now))


def is_stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether the process is in state T (stopped); one that is gone is not."""
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return False
    # The command in parentheses may itself hold any character.
    return stat[stat.rindex(b")") + 2 :].startswith(b"T")
