"""Tells a run that stood still (a paused container, a stopped session) from one that was busy.

Ticks of two processes show it: loadrun's, which come late too while a long call keeps its other
threads waiting, and launch's own, which come late too where only launch was stopped. What held up
both at the same time held up the run; so did what was seen to stop loadrun alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadrun.clock import TICK_S

STOOD_S = 0.75
"""Lateness of loadrun from which the run may have stood still."""
OWN_LATE_S = 0.25
"""Lateness of launch, which is woken by signals and has work of its own, that confirms it."""
Span = tuple[int, int]
"""From and to, CLOCK_MONOTONIC ns."""


class Ticks:
    """Notes when launch came later than it wanted to; `late` are those spans."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self.late: list[Span] = []

    def tick(self, now_ns: int, expected_s: float) -> None:
        """It is `now_ns`; not later than `expected_s` after the last tick is as it should be."""
        if self._last_ns is not None and now_ns - self._last_ns > 1e9 * (expected_s + OWN_LATE_S):
            self.late.append((self._last_ns, now_ns))
        self._last_ns = now_ns


def stood_still(loadrun: Iterable[Sequence[int]], own: Iterable[Span]) -> list[tuple[int, float]]:
    """Return (from, for how many seconds) of times in which the run stood still.

    `loadrun` are the spans of its late ticks, `own` those in which launch was late, or saw that
    loadrun was stopped.
    """
    confirming = list(own)
    found = []
    for start, end in loadrun:
        seconds = (end - start) / 1e9 - TICK_S
        confirmed = any(first < end and start < last for first, last in confirming)
        if seconds >= STOOD_S and confirmed:
            found.append((int(start), seconds))
    return found
