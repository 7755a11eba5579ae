"""The rate of an engine alone, on samples that were loaded for it.

It ends by time, not by a count of batches: a network that takes a minute for a sample is warm after
one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from netrun.batch import ArenaBatch
from shm.arena import SampleArena

LEAST_BATCHES = 3  # fewer tell nothing where one of them was disturbed
ENOUGH_BATCHES = 500  # with so many, a quarter of the time will do
PATIENCE = 6  # a warm-up takes at most so many times what was asked for, and what it is in then
_STEP = 7919
_OTHER_STEP = 7907
_GOLDEN = 0.6180339887498949


def measure_rate(
    answer: Callable[[ArenaBatch], object],
    arena: SampleArena,
    batch_size: int,
    warmup_s: float,
    instance: int = 0,
    batch_cost: float | None = None,
) -> float:
    """Samples/s of the engine alone, for samples of mean work, in about `warmup_s` seconds.

    Batches have `batch_size` samples, or fewer that make up the work `batch_cost`.
    The first sample and the first full batch, which find caches cold, are not measured, unless they
    take so long that nothing else can be.
    """
    loaded = arena.loaded()
    costs = arena.costs.tolist()
    began = time.monotonic()
    # Where a sample takes long, the cheapest is enough to wait for.
    alone = loaded[-1:]
    took = _timed(answer, arena, alone)
    if warmup_s <= took < PATIENCE * warmup_s:
        took = _timed(answer, arena, alone)  # the first one may have had to set something up
    if took >= warmup_s:
        return float(costs[alone[0]]) / took
    even = min(costs[i] for i in loaded) == max(costs[i] for i in loaded)
    most = math.inf if batch_cost is None else batch_cost
    batches = (
        _scattered(loaded, int(max(1, min(batch_size, most / costs[loaded[0]]))), instance)
        if even
        else _neighbours(_cut(loaded, costs, batch_size, most), instance)
    )
    positions = next(batches)
    cold = (sum(costs[i] for i in positions), _timed(answer, arena, positions))
    measured: list[tuple[float, float]] = []
    last = cold[1]
    while True:
        # The end is the one nearest to `warmup_s`: another half batch would be beyond it.
        likely_s = time.monotonic() - began + last / 2
        share = 1 / 4 if len(measured) >= ENOUGH_BATCHES else 1
        if likely_s >= warmup_s * (share if len(measured) >= LEAST_BATCHES else PATIENCE):
            break
        positions = next(batches)
        last = _timed(answer, arena, positions)
        measured.append((sum(costs[i] for i in positions), last))
    measured = measured or [cold]
    if even:
        # The quarter of fastest batches tells: a machine that is still busy with something else
        # slows the others, and a rate that is too low makes an Offline test too short.
        last = sorted(seconds for _, seconds in measured)[len(measured) // 4]
        return measured[0][0] / max(last, 1e-9)
    return sum(work for work, _ in measured) / max(sum(seconds for _, seconds in measured), 1e-9)


def _timed(
    answer: Callable[[ArenaBatch], object], arena: SampleArena, positions: list[int]
) -> float:
    before = time.monotonic()
    answer(ArenaBatch(arena, positions))
    return time.monotonic() - before


def _scattered(loaded: list[int], size: int, instance: int) -> Iterator[list[int]]:
    """Batches of samples that lie far apart, so that they come from memory."""
    count = len(loaded)
    step = _STEP if count % _STEP else _OTHER_STEP
    next_at = instance * 104729
    while True:
        yield [loaded[(next_at + i * step) % count] for i in range(size)]
        next_at += size * step


def _neighbours(batches: list[list[int]], instance: int) -> Iterator[list[int]]:
    """The batches, spread evenly over all works whenever it ends."""
    place = instance * _GOLDEN / 7
    while True:
        yield batches[int(place % 1 * len(batches))]
        place += _GOLDEN


def _cut(loaded: list[int], costs: list[float], size: int, most: float) -> list[list[int]]:
    """Batches of about the same work each, as Offline has them: the longest samples first.

    Samples too few for one batch are in it several times.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    work = 0.0
    taken = 0
    while taken < len(loaded) or not batches:
        position = loaded[taken % len(loaded)]
        batch.append(position)
        work += costs[position]
        taken += 1
        following = costs[loaded[taken % len(loaded)]]
        if len(batch) == size or work + following > most:
            batches.append(batch)
            batch, work = [], 0.0
    return [*batches, batch] if batch else batches
