"""What a timeline (loadrun.timeline) says, as series to draw; times in s, latencies in ns."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate, pairwise

from launch.outcome.record.timeline import TimelineRecord
from loadrun.timeline import FIRST_NS

WINDOWS = 120
"""Points of a line over time, at most."""
BATCHES_A_WINDOW = 20
"""Fewer would show how batches fall into windows, not how the rate changes."""


@dataclass(frozen=True)
class Window:
    """What happened from `start_s` to `end_s`; None where nothing was seen.

    `outstanding` is the mean, `left` what was outstanding at the end.
    """

    start_s: float
    end_s: float
    rate: float
    outstanding: float
    left: int
    deepest: float
    mean_ns: float | None
    longest_ns: float | None


def windows(timeline: TimelineRecord) -> list[Window]:
    """The points of a timeline, joined to as many windows as can be distinguished."""
    at_s, answered = timeline.at_s, timeline.answered
    if len(at_s) < 2:
        return []
    batches = sum(sum(sizes.values()) for sizes in timeline.batch_sizes)
    wanted = max(min(WINDOWS, batches // BATCHES_A_WINDOW), 8)
    every = -(-(len(at_s) - 1) // wanted)
    ends = [*range(every, len(at_s), every)]
    # The rest at the end, often a fraction of a step, belongs to the window before it.
    if not ends or ends[-1] != len(at_s) - 1:
        ends[-1:] = [len(at_s) - 1]
    if len(ends) > 1 and at_s[ends[-1]] - at_s[ends[-2]] < (at_s[ends[0]] - at_s[0]) / 2:
        del ends[-2]
    found = []
    for first, last in pairwise([0, *ends]):
        inside = slice(first + 1, last + 1)
        means = [value for value in timeline.latency_mean_us[inside] if value is not None]
        longest = [value for value in timeline.latency_max_us[inside] if value is not None]
        seconds = max(at_s[last] - at_s[first], 1e-3)
        depths = timeline.outstanding[inside]
        found.append(
            Window(
                at_s[first],
                at_s[last],
                (answered[last] - answered[first]) / seconds,
                sum(depths) / len(depths),
                depths[-1],
                max(timeline.outstanding_max[inside]),
                1e3 * sum(means) / len(means) if means else None,
                1e3 * max(longest) if longest else None,
            )
        )
    return found


class Histogram:
    """Latencies counted in buckets: `edges[k]` to `edges[k + 1]` holds `counts[k]`."""

    def __init__(self, edges: list[float], counts: list[float]) -> None:
        self.edges, self.counts = edges, counts
        self.total = sum(counts)
        self.below = [0.0, *accumulate(counts)]
        """How many lie below each edge."""

    @classmethod
    def of(cls, timeline: TimelineRecord) -> Histogram | None:
        """The histogram of a timeline; None where it holds nothing."""
        found = timeline.histogram
        first, counts = found.first, found.counts
        if not sum(counts):
            return None
        edges = [FIRST_NS * 2 ** ((first + k) / found.per_octave) for k in range(len(counts) + 1)]
        return cls(edges, list(counts))

    def share_below(self, latency_ns: float) -> float:
        """The share of latencies (0..1) below one, taken as spread evenly in each bucket."""
        if latency_ns >= self.edges[-1]:
            return 1.0
        at = bisect_left(self.edges, latency_ns)
        if at == 0:
            return 0.0
        low, high = self.edges[at - 1], self.edges[at]
        inside = self.counts[at - 1] * (latency_ns - low) / (high - low)
        return (self.below[at - 1] + inside) / self.total

    def percentile(self, share: float) -> float:
        """The latency (ns) below which a share (0..1) lies."""
        wanted = share * self.total
        at = min(max(bisect_left(self.below, wanted), 1), len(self.counts))
        count = self.counts[at - 1]
        part = (wanted - self.below[at - 1]) / count if count else 1.0
        return self.edges[at - 1] + min(max(part, 0.0), 1.0) * (self.edges[at] - self.edges[at - 1])

    def even(self, buckets: int, end_ns: float) -> Histogram:
        """The same in equal buckets from 0 to `end_ns`."""
        edges = [end_ns * k / buckets for k in range(buckets + 1)]
        below = [self.total * self.share_below(edge) for edge in edges]
        return Histogram(edges, [later - earlier for earlier, later in pairwise(below)])

    def coarser(self, most: int) -> Histogram:
        """The same with neighbours joined until there are at most so many buckets."""
        edges, counts = self.edges, self.counts
        while len(counts) > most:
            if len(counts) % 2:
                edges, counts = [*edges, edges[-1] ** 2 / edges[-2]], [*counts, 0.0]
            edges = edges[::2]
            counts = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
        return Histogram(edges, counts)


def batch_sizes(timeline: TimelineRecord) -> dict[int, int]:
    """How many batches of each size all instances together answered."""
    found: dict[int, int] = {}
    for sizes in timeline.batch_sizes:
        for size, count in sizes.items():
            found[int(size)] = found.get(int(size), 0) + count
    return dict(sorted(found.items()))
