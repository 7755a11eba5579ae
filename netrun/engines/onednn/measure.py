"""What only a measurement on the machine itself can decide: how to cut a batch, and its times.

Candidates take turns in rounds, so that a machine that changes its speed changes it for all, and
the fastest round tells: what disturbs a run only makes it longer. One thread is timed by its own
processor time, which does not count what others do on its processor meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from netrun.engines.onednn.batches import WORTH, Plan, interpolated, measured_sizes

Run = Callable[[NDArray[np.uint8], Sequence[int]], Any]
Progress = Callable[[int, int], None]
K = TypeVar("K")

ROUNDS = 12
LEAST_ROUNDS = 3
OPERATION_ROUNDS = 6
CUT_S, SIZES_S, CONFIRM_S = 2.0, 4.0, 0.2
"""How long the ways to cut, the sizes, and what the plan changes are measured at most, but for the
least rounds."""
ARENA_BYTES = 16 << 20
BETTER = 0.98
"""What another way to cut must take of the first one's time to be preferred."""


def steps(runs: int) -> int:
    """What `in_turns` counts its progress up to, for so many runs."""
    return runs * (ROUNDS + 1)


def unheard(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def made_samples(shape: tuple[int, ...], batch: int) -> NDArray[np.uint8]:
    """Random samples, uint8 [n, *shape]: more than caches hold, and at least a batch."""
    count = max(batch, min(64, ARENA_BYTES // int(np.prod(shape))))
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def fastest(
    ways: Mapping[str, Run],
    samples: NDArray[np.uint8],
    batch: int,
    threads: int,
    progress: Progress,
) -> tuple[str, dict[str, float]]:
    """The name of the way whose full batch takes least, and the seconds of each.

    Another than the first has to be faster by more than the noise.
    """
    runs: dict[str, Callable[[], object]] = {}
    positions = scattered(len(samples), batch)
    for name, run in ways.items():
        runs[name] = _bound(run, samples, positions)
    times = in_turns(runs, CUT_S, threads, progress)
    first = next(iter(ways))
    best = min(times, key=lambda name: times[name])
    return (best if times[best] < BETTER * times[first] else first), times


def batch_times(
    run: Run, samples: NDArray[np.uint8], most: int, threads: int, progress: Progress
) -> list[float]:
    """Seconds that batches of 1 to `most` scattered samples take."""
    runs = {
        size: _bound(run, samples, scattered(len(samples), size)) for size in measured_sizes(most)
    }
    return interpolated(in_turns(runs, SIZES_S, threads, progress), most)


def confirmed(
    own: Run, planned: Run, batches: Plan, samples: NDArray[np.uint8], threads: int
) -> Plan:
    """`batches` without what does not gain when both ways are measured once more, by turns.

    `own` runs every size as it is, `planned` as `batches` says.
    """
    kept: Plan = []
    for batch, sizes in enumerate(batches, start=1):
        if sizes != [batch]:
            positions = scattered(len(samples), batch)
            runs = {way: _bound(way, samples, positions) for way in (own, planned)}
            times = in_turns(runs, CONFIRM_S, threads)
            if times[planned] > WORTH * times[own]:
                sizes = [batch]
        kept.append(sizes)
    return kept


def in_turns(
    runs: Mapping[K, Callable[[], object]],
    seconds: float,
    threads: int,
    progress: Progress = unheard,
) -> dict[K, float]:
    """The least time of each run, in seconds: all by turns, for `seconds` or `ROUNDS` rounds."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    times: dict[K, list[float]] = {name: [] for name in runs}
    began = time.perf_counter()
    done, total = 0, steps(len(runs))
    for count in range(ROUNDS + 1):
        for name, run in runs.items():
            start = clock()
            run()
            took = clock() - start
            if count:  # the first round makes kernels and fills caches
                times[name].append(took)
            done += 1
            progress(done, total)
        if count >= LEAST_ROUNDS and time.perf_counter() - began > seconds:
            break
    progress(total, total)
    return {name: min(found) for name, found in times.items()}


def operation_times(
    profiles: Mapping[K, Callable[[NDArray[np.uint8], Sequence[int]], NDArray[np.int64]]],
    samples: NDArray[np.uint8],
    batches: Sequence[int],
) -> dict[K, dict[int, NDArray[np.int64]]]:
    """The least time of each operation, ns, by way and batch size; ways take turns.

    A profile returns the times of all operations of one batch, in program order.
    """
    least: dict[K, dict[int, NDArray[np.int64]]] = {name: {} for name in profiles}
    for batch in batches:
        positions = scattered(len(samples), batch)
        for _ in range(OPERATION_ROUNDS):
            for name, profile in profiles.items():
                found = profile(samples, positions)
                before = least[name].get(batch, found)
                least[name][batch] = np.minimum(before, found)
    return least


def scattered(slots: int, count: int) -> list[int]:
    """Positions far from each other, as LoadGen's are."""
    return [i * 7919 % slots for i in range(count)]


def _bound(run: Run, samples: NDArray[np.uint8], positions: list[int]) -> Callable[[], object]:
    return lambda: run(samples, positions)
