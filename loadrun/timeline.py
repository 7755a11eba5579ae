"""How a test went: samples and queue depth over time, latencies, sizes of batches.

LoadGen logs percentiles only, and its trace would cost more than the test. Here nothing is done for
each sample. Counters that are kept anyway are looked at fifty times a second; latencies are noted
as integers at the end of lists, and numpy counts them some times a second.

Latencies run from when a query reaches loadrun to when its answer is handed to LoadGen. LoadGen
itself begins a little earlier, in Server with the time that it had scheduled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PER_OCTAVE = 16
"""Buckets of the latency histogram by which a latency doubles: each is 4.4% wide."""
FIRST_NS = 1024
"""Lower edge of the first bucket, which also counts quicker ones."""
BUCKETS = 42 * PER_OCTAVE
"""Up to 75 minutes."""
STEP_NS = 100_000_000
POINTS = 400
"""When there are so many points, they merge in pairs."""
PER_LOOK = 128
"""Batches between two looks whose latencies are noted: all, up to 6,400 batches/s. Beyond that
they are a part of all, so that a busy loadrun is not held up."""
FOLD = 8 * PER_LOOK
"""Length of `ends` from which it is counted: often, so that counting holds nobody up for long."""
MAX_SIZES = 2048
"""Different (instance, batch size) pairs up to which sizes are reported by instance."""


@dataclass
class _Point:
    """The state at a time, and what happened since the point before."""

    at_ns: int
    answered: int
    outstanding: int
    deepest: int
    timed: int = 0
    latency_ns: int = 0
    longest_ns: int = 0

    def merged(self, later: _Point) -> _Point:
        """Both as one."""
        return _Point(
            later.at_ns,
            later.answered,
            later.outstanding,
            max(self.deepest, later.deepest),
            self.timed + later.timed,
            self.latency_ns + later.latency_ns,
            max(self.longest_ns, later.longest_ns),
        )


class Timeline:
    """Collects a test; one thread at a time adds to it. All times are ns of the monotonic clock.

    Without `timed` all samples are issued at once (Offline), and `look` notes their latencies. Else
    a batch adds ``(when it was answered, n)`` to `ends` and n times of issue to `starts`, as long
    as `ends` is shorter than `room`.
    """

    def __init__(self, timed: bool) -> None:
        self.ends: list[int] = []
        self.starts: list[int] = []
        self.timed = timed
        self.room = 2 * PER_LOOK if timed else 0
        self._step_ns = STEP_NS
        self._start_ns = 0
        self._points: list[_Point] = []
        self._latest = _Point(0, 0, 0, 0)  # becomes the next one
        self._histogram = np.zeros(BUCKETS, np.int64)

    def look(
        self, answered: int, outstanding: int, issued_ns: int, now_ns: int | None = None
    ) -> None:
        """Note how many samples are answered and how many are not, now and then.

        `issued_ns` is when the latest query came.
        """
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        latest = self._latest
        if answered == latest.answered and not outstanding:
            return  # nothing is going on: before the first query, or after the last answer
        if not self._points:
            self._start_ns = self.starts[0] if self.starts else issued_ns
            self._points.append(_Point(self._start_ns, 0, 0, 0))
            latest.at_ns = self._start_ns
        if not self.timed and answered > latest.answered:
            middle_ns = (max(latest.at_ns, issued_ns) + now_ns) // 2 - issued_ns
            octaves = math.log2(max(middle_ns, FIRST_NS) / FIRST_NS)
            bucket = min(int(PER_OCTAVE * octaves), BUCKETS - 1)
            self._histogram[bucket] += answered - latest.answered
        latest.at_ns, latest.answered, latest.outstanding = now_ns, answered, outstanding
        latest.deepest = max(latest.deepest, outstanding)
        if len(self.ends) >= FOLD:
            self._count_latencies()
        if now_ns - self._points[-1].at_ns >= self._step_ns:
            self._end_point()
        if self.timed:
            self.room = len(self.ends) + 2 * PER_LOOK

    def percentiles_ns(self, shares: Sequence[float]) -> list[int]:
        """Latencies so far that these shares (0..1) of the samples did not exceed, within 2.2%.

        Zeros before the first latency.
        """
        below = self._histogram.cumsum()
        if not below[-1]:
            return [0] * len(shares)
        buckets = np.searchsorted(below, np.asarray(shares) * below[-1])
        middles: list[float] = (FIRST_NS * 2 ** ((buckets + 0.5) / PER_OCTAVE)).tolist()
        return [round(middle) for middle in middles]

    def as_json(self, sizes: list[list[int]]) -> dict[str, Any]:
        """All of it: times in s, latencies in us, one list for each thing seen at the points.

        The values of a point cover the time since the one before; None: nothing was seen.
        `histogram` counts latencies from ``1024 ns * 2 ** (first / per_octave)`` on, each bucket
        2 ** (1 / per_octave) times as wide as the one before. `sizes[i][n]` says how many batches
        of n samples instance i answered; `batch_sizes` holds the same, one object for each
        instance, or one for all where it would be large.
        """
        points = self._points
        if points and (self.ends or self._latest.answered > points[-1].answered):
            self._end_point()
        filled = self._histogram.nonzero()[0]
        first, end = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)
        return {
            "at_s": [round((point.at_ns - self._start_ns) / 1e9, 3) for point in points],
            "answered": [point.answered for point in points],
            "outstanding": [point.outstanding for point in points],
            "outstanding_max": [point.deepest for point in points],
            "latency_mean_us": [
                round(point.latency_ns / point.timed / 1000, 1) if point.timed else None
                for point in points
            ],
            "latency_max_us": [
                round(point.longest_ns / 1000, 1) if point.timed else None for point in points
            ],
            "histogram": {
                "first": first,
                "per_octave": PER_OCTAVE,
                "counts": self._histogram[first:end].tolist(),
            },
            "batch_sizes": _batch_sizes(sizes),
        }

    def _end_point(self) -> None:
        self._count_latencies()
        points, latest = self._points, self._latest
        points.append(latest)
        self._latest = _Point(latest.at_ns, latest.answered, latest.outstanding, 0)
        if len(points) > POINTS:
            self._step_ns *= 2
            # The first one is the start, and merges with none.
            pairs = zip(points[1::2], points[2::2], strict=True)
            points[1:] = [earlier.merged(later) for earlier, later in pairs]

    def _count_latencies(self) -> None:
        if not self.ends:
            return
        ends = np.fromiter(self.ends, np.int64, len(self.ends))
        starts = np.fromiter(self.starts, np.int64, len(self.starts))
        self.ends.clear()
        self.starts.clear()
        latencies = np.repeat(ends[0::2], ends[1::2]) - starts
        octaves = np.log2(np.maximum(latencies, FIRST_NS) / FIRST_NS)
        buckets = np.minimum((PER_OCTAVE * octaves).astype(np.int64), BUCKETS - 1)
        self._histogram += np.bincount(buckets, minlength=BUCKETS)
        latest = self._latest
        latest.timed += len(latencies)
        latest.latency_ns += int(latencies.sum())
        latest.longest_ns = max(latest.longest_ns, int(latencies.max()))


def _batch_sizes(sizes: list[list[int]]) -> list[dict[str, int]]:
    by_instance = [{str(n): count for n, count in enumerate(counts) if count} for counts in sizes]
    if sum(map(len, by_instance)) > MAX_SIZES:
        together = [sum(counts) for counts in zip(*sizes, strict=True)]
        return [{str(n): count for n, count in enumerate(together) if count}]
    return by_instance
