"""The highest load that holds: bracketing, bisection, confirmations of growing duration.

Whether a load holds is found by tests that are noisy near the edge, and short tests are optimistic
about rare delays. So a short duration finds the neighbourhood, and what it finds counts only once
it has held at every longer duration too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One test: queries/s, seconds, whether it was VALID."""

    qps: float
    seconds: float
    valid: bool


@dataclass(frozen=True)
class Peak:
    """What a search found.

    `qps` is the highest load that held at the longest duration (None: none did), `bound` the lowest
    that failed above it at any duration (None: none failed); `attempts` in order; `complete` False
    when the number of attempts or the caller ended the search before it was done.
    """

    qps: float | None
    bound: float | None
    attempts: tuple[Attempt, ...]
    complete: bool


class Stopped(Exception):  # noqa: N818
    """Raised by `holds` to end a search early; what was found until then counts."""


def search_peak(
    holds: Callable[[float, float], bool],
    start: float,
    *,
    durations: Sequence[float],
    precision: float,
    growth: float = 1.5,
    least: float = 0.0,
    most: int = 40,
) -> Peak:
    """Find the highest load for which ``holds(qps, seconds)`` is true.

    From `start` up (or down) by factors of `growth` until one load holds and one fails; then halve
    the interval, by ratio, until it is `precision` wide (0.02: 2%); then confirm at each longer of
    `durations`. A load that fails a confirmation gives way to the one below it by `precision`. A
    search that falls below `least` ends. ValueError for a start, growth or precision that cannot
    work. The last of `durations` decides; at most `most` tests are run.
    """
    if not (start > 0 and growth > 1 and precision > 0 and durations):
        raise ValueError("start must be above 0, growth above 1, precision above 0")
    attempts: list[Attempt] = []
    confirmed: float | None = None
    low: float | None = None
    high: float | None = None

    def test(qps: float, seconds: float) -> bool:
        if len(attempts) >= most:
            raise Stopped
        valid = holds(qps, seconds)
        attempts.append(Attempt(qps, seconds, valid))
        return valid

    def found(complete: bool) -> Peak:
        return Peak(confirmed, high, tuple(attempts), complete)

    try:
        short, final = durations[0], durations[-1]
        qps = start
        while low is None or high is None:
            if test(qps, short):
                low = qps
                confirmed = low if final == short else None
                qps *= growth
            else:
                high = qps
                if low is None:
                    qps /= growth
                    if qps < least:
                        return found(True)
        while high / low > 1 + precision:
            middle = (low * high) ** 0.5
            if test(middle, short):
                low = middle
                confirmed = low if final == short else None
            else:
                high = middle
        level = 1
        while level < len(durations):
            if test(low, durations[level]):
                level += 1
                continue
            high, low = low, low / (1 + precision)
            if low < least:
                return found(True)
            # What failed here was VALID in shorter tests; those add nothing more.
        confirmed = low
    except Stopped:
        return found(False)
    return found(True)
