"""The part of a record that says how its test went over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class HistogramRecord:
    """Latencies counted from ``1024 ns * 2 ** (first / per_octave)`` on."""

    first: int
    per_octave: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class TimelineRecord:
    """The result of `loadrun.timeline.Timeline.as_json`; one value for each point."""

    at_s: tuple[float, ...]
    answered: tuple[int, ...]
    outstanding: tuple[int, ...]
    outstanding_max: tuple[int, ...]
    latency_mean_us: tuple[float | None, ...]
    latency_max_us: tuple[float | None, ...]
    histogram: HistogramRecord
    batch_sizes: tuple[Mapping[str, int], ...]
