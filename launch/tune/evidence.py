"""How sure a comparison is: repeats, spread, and whether a difference is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from statistics import median

SURE = 0.05
"""Largest probability with which noise alone may look like the difference that is claimed."""
LEAST_REPEATS = 3
"""Below 3 + 3 measurements, no difference can be distinguished from noise at that probability."""
MOST_SPLITS = 20_000


@dataclass(frozen=True)
class Summary:
    """Repeated measurements of one choice, in the order they were taken."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Largest less smallest, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def __str__(self) -> str:
        return f"{self.median:.4g} (spread {100 * self.spread:.1f}%, {len(self.values)} repeats)"


def chance(better: Sequence[float], worse: Sequence[float]) -> float:
    """The probability that `better` would rank this high above `worse` by chance alone.

    One-sided Wilcoxon rank-sum test (Wilcoxon 1945; Mann and Whitney 1947), exact, over all ways to
    split the measurements in two, up to MOST_SPLITS of them; else its normal approximation. Ties
    count half.
    """
    pool = [*better, *worse]
    size = len(better)
    if not better or not worse or comb(len(pool), size) > MOST_SPLITS:
        return 1.0 if not better or not worse else _normal(better, worse)

    def above(chosen: set[int]) -> float:
        rest = [pool[i] for i in range(len(pool)) if i not in chosen]
        return sum((pool[i] > r) + 0.5 * (pool[i] == r) for i in chosen for r in rest)

    seen = above(set(range(size)))
    splits = [above(set(chosen)) for chosen in combinations(range(len(pool)), size)]
    return sum(value >= seen for value in splits) / len(splits)


def _normal(better: Sequence[float], worse: Sequence[float]) -> float:
    from statistics import NormalDist

    m, n = len(better), len(worse)
    u = sum((b > w) + 0.5 * (b == w) for b in better for w in worse)
    deviation = (m * n * (m + n + 1) / 12) ** 0.5
    return 1 - NormalDist().cdf((u - 0.5 - m * n / 2) / deviation)


@dataclass(frozen=True)
class Conclusion:
    """Which finalist won.

    `winner` is None where none beats the default beyond the noise. `gain` is the winner's median
    over the default's, less 1; `chance` the probability that noise alone looks like that. `ties`
    are finalists that the measurements do not separate from the winner. `text` says it in words.
    """

    winner: str | None
    gain: float
    chance: float
    ties: tuple[str, ...]
    text: str


def judge(finalists: dict[str, Summary], default: str) -> Conclusion:
    """Crown a winner among `finalists` (by name), of which `default` is one, or refuse to.

    All must have been measured in the same alternating rounds. With k challengers each is allowed
    SURE / k, so that more finalists do not mean more false winners (Bonferroni); but never less
    than what the repeats at hand can show.
    """
    base = finalists[default]
    challengers = {n: s for n, s in finalists.items() if n != default}
    if not challengers:
        text = f"nothing that was measured comes near the default: {base}"
        return Conclusion(None, 0.0, 1.0, (), text)
    best = max(challengers, key=lambda name: challengers[name].median)
    found = challengers[best]
    gain = found.median / base.median - 1 if base.median else float("inf")
    p = chance(found.values, base.values)
    repeats = min(len(found.values), len(base.values))
    if repeats < LEAST_REPEATS:
        text = (
            f"{repeats} repeats are too few to tell {best} from the default:"
            f" {found} against {base}; run again to add more"
        )
        return Conclusion(None, gain, p, (), text)
    if gain <= 0 or p > allowed(len(challengers), repeats):
        text = (
            f"no winner: the best other choice, {best}, is within the noise of the default or below"
            f" it: {found} against {base} ({100 * gain:+.1f}%, chance {p:.2g})"
        )
        return Conclusion(None, gain, p, (), text)
    ties = tuple(
        name
        for name, other in challengers.items()
        if name != best and chance(found.values, other.values) > SURE
    )
    text = (
        f"{best}: {found} against the default's {base}:"
        f" {100 * gain:+.1f}%, by chance with probability {p:.2g}"
    )
    return Conclusion(best, gain, p, ties, text)


def allowed(challengers: int, repeats: int) -> float:
    """The probability of chance that a winner may have: SURE, shared among the challengers."""
    return max(SURE / challengers, min(SURE, 1 / comb(2 * repeats, repeats)))
