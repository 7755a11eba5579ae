"""How long an instance warms up, on which samples, and what rate it finds."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from netrun import warmup
from netrun.batch import ArenaBatch
from shm.arena import ArenaField, ArenaLayout, SampleArena

BATCH = 4


class Paced:
    """Answers batches in the given seconds, the last of them again and again.

    `per_work` are seconds for each unit of work instead.
    """

    def __init__(self, *seconds: float, alone: float | None = None, per_work: float = 0.0) -> None:
        self.seconds = seconds
        self.alone = seconds[0] if alone is None and seconds else alone or 0.0
        self.per_work = per_work
        self.clock = 0.0
        self.batches: list[list[int]] = []

    def __call__(self, batch: ArenaBatch) -> None:
        number = len([b for b in self.batches if len(b) == BATCH])
        if self.per_work:
            self.clock += self.per_work * sum(batch.costs)
        elif len(batch) == 1:
            self.clock += self.alone
        else:
            self.clock += self.seconds[min(number, len(self.seconds) - 1)]
        self.batches.append(list(batch.positions))


def arena_of(costs: list[float]) -> SampleArena:
    arena = SampleArena.private(ArenaLayout(len(costs) + 2, (ArenaField("x", "|u1", (1,)),)))
    for position, cost in enumerate(costs):
        arena.put(position, position, cost, {"x": np.zeros(1, np.uint8)})
    return arena


def measure(
    engine: Paced, arena: SampleArena, monkeypatch: pytest.MonkeyPatch, instance: int = 0
) -> float:
    monkeypatch.setattr(warmup, "time", SimpleNamespace(monotonic=lambda: engine.clock))
    return warmup.measure_rate(engine, arena, BATCH, 2.0, instance)


@pytest.mark.parametrize(
    ("engine", "batches", "took", "rate"),
    [
        (Paced(0.1, alone=0.02), 20, 2.02, BATCH / 0.1),
        (Paced(0.002), 501, 1.004, BATCH / 0.002),  # enough of them before the time is over
        (Paced(0.0005), 999, 0.5, BATCH / 0.0005),
        (Paced(1.0, 0.1, alone=0.1), 10, 2.0, BATCH / 0.1),  # the first one is cold
        (Paced(0.45, alone=0.1), 4, 1.9, BATCH / 0.45),  # a fifth would end at 2.35 s
        (Paced(0.55, alone=0.1), 4, 2.3, BATCH / 0.55),
        (Paced(0.5, 3.0, 0.2, 0.4, alone=0.1), 4, 4.2, BATCH / 0.2),  # disturbed once
        (Paced(3.0, alone=1.0), 4, 13.0, BATCH / 3.0),
        (Paced(5.0, alone=1.5), 2, 11.5, BATCH / 5.0),  # patience ends
        (Paced(20.0, alone=1.9), 1, 21.9, BATCH / 20),  # not even a warm one can be had
        (Paced(alone=9.0), 0, 18.0, 1 / 9.0),  # a sample alone, warm
        (Paced(alone=60.0), 0, 60.0, 1 / 60.0),  # a sample alone is enough
    ],
)
def test_a_warm_up_ends_by_time(
    engine: Paced, batches: int, took: float, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measure(engine, arena_of([1.0] * 16), monkeypatch)
    assert len([batch for batch in engine.batches if len(batch) == BATCH]) == batches
    assert engine.clock == pytest.approx(took)
    assert measured == pytest.approx(rate)


def test_the_rate_is_that_of_samples_of_mean_work(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = [4.0, 3.0, 2.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    # 10 units of work a second, whatever the samples.
    engine = Paced(per_work=0.01)
    assert measure(engine, arena_of(costs), monkeypatch) == pytest.approx(100.0)
    # The slow one takes the cheapest alone.
    engine = Paced(per_work=100.0)
    assert measure(engine, arena_of(costs), monkeypatch) == pytest.approx(0.01)
    assert engine.batches == [[7]]


def test_batches_are_of_neighbours_where_samples_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = [float(cost) for cost in range(64, 0, -1)]
    engine = Paced(0.01)
    measure(engine, arena_of(costs), monkeypatch)
    alone, *batches = engine.batches
    assert alone == [63]
    assert all(batch == list(range(batch[0], batch[0] + BATCH)) for batch in batches)
    # After a few batches all kinds were there.
    starts = sorted(batch[0] for batch in batches[:12])
    assert starts[0] < 8
    assert starts[-1] > 52
    assert max(b - a for a, b in pairwise(starts)) < 12


def test_batches_are_bounded_by_work_where_samples_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    # 6 are more than a batch's work; a long one goes alone, and cheap ones are bounded by number.
    costs = [6.0, 3.0, 3.0, 2.0, 1.0, 1.0] + [0.1] * 8
    engine = Paced(per_work=0.01)
    arena = arena_of(costs)
    monkeypatch.setattr(warmup, "time", SimpleNamespace(monotonic=lambda: engine.clock))
    rate = warmup.measure_rate(engine, arena, BATCH, 2.0, batch_cost=5.0)
    assert rate == pytest.approx(100.0)
    alone, *batches = engine.batches
    expected = [[0], [1], [2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]
    assert alone == [13]
    assert sorted({tuple(batch) for batch in batches}) == [tuple(batch) for batch in expected]
    counts = [batches.count(batch) for batch in expected]
    assert max(counts) - min(counts) <= 2


def test_a_budget_of_work_counts_samples_where_they_are_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Paced(0.1)
    monkeypatch.setattr(warmup, "time", SimpleNamespace(monotonic=lambda: engine.clock))
    warmup.measure_rate(engine, arena_of([1.0] * 9), 16, 2.0, batch_cost=BATCH)
    assert {len(batch) for batch in engine.batches} == {1, BATCH}


def test_batches_are_scattered_where_samples_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Paced(0.1), Paced(0.1)
    arena = arena_of([1.0] * 50)
    measure(first, arena, monkeypatch)
    measure(second, arena, monkeypatch, instance=1)
    assert first.batches[1] != second.batches[1]
    assert len({p for batch in first.batches for p in batch}) == 50
    # Only what was loaded is there to be read.
    assert max(p for batch in first.batches for p in batch) == 49


def test_fewer_samples_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    for costs in ([1.0], [2.0, 1.0]):
        engine = Paced(0.1)
        assert measure(engine, arena_of(costs), monkeypatch) > 0
        assert all(len(batch) in (1, BATCH) for batch in engine.batches)
