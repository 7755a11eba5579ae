"""How evenly the instances of a run served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadrun.report import InstanceReport

STANDS_OUT = 0.9
"""Share of the median below which an instance is named."""


@dataclass(frozen=True)
class Spread:
    """Samples/s of the instances while they worked, and samples they answered.

    `slowest` is the number of the one that stands out; None where none does.
    """

    rates: tuple[float, float, float]
    samples: tuple[float, float, float]
    slowest: int | None

    def __str__(self) -> str:
        low, middle, high = (f"{rate:.4g}" for rate in self.rates)
        fewest, usual, most = (f"{count:.6g}" for count in self.samples)
        text = (
            f"samples/s at work: least {low}, median {middle}, most {high};"
            f" samples: {fewest}, {usual}, {most}"
        )
        if self.slowest is not None:
            share = self.rates[0] / self.rates[1]
            text += f"; slowest: instance {self.slowest}, {100 * share:.0f}% of the median"
        return text


def spread(instances: Sequence[InstanceReport]) -> Spread | None:
    """The spread over what instances did; None for fewer than two that served."""
    served = [i for i in instances if i.busy_s > 0 and i.samples > 0]
    if len(served) < 2:
        return None
    rates = {i.instance: i.samples / i.busy_s for i in served}
    slowest = min(rates, key=rates.__getitem__)
    middle = median(rates.values())
    counts = [i.samples for i in instances]
    return Spread(
        (rates[slowest], middle, max(rates.values())),
        (min(counts), median(counts), max(counts)),
        slowest if rates[slowest] < STANDS_OUT * middle else None,
    )
