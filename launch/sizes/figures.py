"""Times of batches by their size, from an artifact's facts or from run.json.

The compiler measures them where it builds (netrun.engines.onednn.compiler): each size as it is, and
with it decides whether batches of that size are filled up to a larger one or go in parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launch.outcome.record.run import Record
from netrun.engines.onednn.batches import measured_sizes


@dataclass(frozen=True)
class Size:
    """Batches of so many samples: `runs` are the sizes that run for one, together in `ms`.

    `own_ms` is what they take as they are; None where it was not kept.
    """

    samples: int
    ms: float
    runs: tuple[int, ...]
    own_ms: float | None = None

    @property
    def as_it_is(self) -> bool:
        """Whether a batch is run as one of its own size."""
        return self.runs == (self.samples,)

    @property
    def way(self) -> str:
        """How a batch is run, in words."""
        if self.as_it_is:
            return "as it is"
        if len(self.runs) == 1:
            return f"filled up to {self.runs[0]}"
        filled = ", filled up" if sum(self.runs) > self.samples else ""
        return f"in parts {' + '.join(map(str, self.runs))}{filled}"

    @property
    def sample_ms(self) -> float:
        """Time of a sample, in ms."""
        return self.ms / self.samples

    @property
    def own_sample_ms(self) -> float | None:
        """Time of a sample where the batch is run as it is, in ms."""
        return None if self.own_ms is None else self.own_ms / self.samples

    @property
    def rate(self) -> float:
        """Samples a second."""
        return 1e3 / self.sample_ms

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "samples": self.samples,
            "own_ms": self.own_ms,
            "ms": self.ms,
            "ms_per_sample": self.sample_ms,
            "samples_per_s": self.rate,
            "runs": list(self.runs),
        }


def from_facts(facts: Mapping[str, Any]) -> list[Size]:
    """Every size of an artifact, from 1 sample on."""
    return [
        Size(samples, ms, tuple(runs), own)
        for samples, (ms, runs, own) in enumerate(
            zip(facts["batch_ms"], facts["batches"], facts["own_ms"], strict=True), start=1
        )
    ]


def from_record(record: Record) -> list[Size]:
    """Every size of a run, from its record; empty where that holds none."""
    for engine in record.processes.engines.values():
        otherwise = engine.details.batches or {}
        # All instances map the same artifact.
        return [
            Size(samples, ms, otherwise.get(str(samples), (samples,)))
            for samples, ms in enumerate(engine.details.batch_ms or (), start=1)
        ]
    return []


def measured(sizes: Sequence[Size]) -> list[Size]:
    """The sizes that were measured, and those that are not run as they are.

    The times of the others are interpolated.
    """
    if not sizes:
        return []
    known = set(measured_sizes(len(sizes)))
    return [size for size in sizes if size.samples in known or not size.as_it_is]
