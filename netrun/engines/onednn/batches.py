"""How a batch of each size is run: as it is, filled up to a larger one, or in parts.

Kernels suit some sizes better than others, so that a batch may take longer than one of more
samples. `plan` looks at measured times and never lets that happen::

    samples      1     2     3     4
    measured    6 ms  11    29    15
    run as       1     2     4     4      three samples are filled up to four
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Plan = list[list[int]]
"""For batches of 1, 2, ... samples: the sizes that run one after the other. Where they add up to
more, the batch is filled up."""

WORTH = 0.85
"""What another way must take of a batch's own time: a smaller gain may be noise, and a kernel that
does not suit its size takes far longer."""


def as_they_are(most: int) -> Plan:
    """Batches of 1 to `most` samples, each run as it is."""
    return [[size] for size in range(1, most + 1)]


def filled(most: int) -> Plan:
    """Batches of 1 to `most` samples, each filled up to the largest."""
    return [[most]] * most


def otherwise(chosen: Plan) -> dict[int, list[int]]:
    """What `chosen` does not run as it is: samples of the batch -> the sizes that run."""
    return {batch: sizes for batch, sizes in enumerate(chosen, start=1) if sizes != [batch]}


def plan(times: Sequence[float]) -> Plan:
    """How to run batches of 1, 2, ... samples, which take `times` when run as they are."""
    best: list[tuple[float, list[int]]] = [(0.0, [])]  # of no sample, one, two, ...
    chosen: Plan = []
    for batch, own in enumerate(times, start=1):
        ways = []
        for size, took in enumerate(times, start=1):
            before, sizes = best[max(0, batch - size)]
            ways.append((before + took, [*sizes, size]))
        best.append(min(ways))
        chosen.append(best[-1][1] if best[-1][0] < WORTH * own else [batch])
    return chosen


def planned(times: Sequence[float], chosen: Plan) -> list[float]:
    """What batches of 1, 2, ... samples take when run as `chosen` says."""
    return [sum(times[size - 1] for size in sizes) for sizes in chosen]


def measured_sizes(most: int) -> list[int]:
    """The sizes worth measuring: all up to 16, then eight to each doubling, and `most`."""
    sizes = list(range(1, min(most, 16) + 1))
    while sizes[-1] < most:
        step = 1 << (sizes[-1].bit_length() - 4)
        sizes.append(min(most, sizes[-1] + step))
    return sizes


def interpolated(times: Mapping[int, float], most: int) -> list[float]:
    """Times of 1 to `most` samples from those of some sizes, 1 and `most` among them."""
    found: list[float] = []
    known = sorted(times)
    for low, high in zip(known, [*known[1:], known[-1]], strict=True):
        for size in range(low, high if high > low else low + 1):
            share = (size - low) / max(high - low, 1)
            found.append(times[low] + share * (times[high] - times[low]))
    assert len(found) == most
    return found
