"""Scales of charts: from values to places, where ticks stand and what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

Tick = tuple[float, str]
"""A value and its label."""


class Scale(Protocol):
    """Places values between two ends of an axis."""

    ends: tuple[float, float]
    """Where the axis begins and ends, in units of the drawing."""

    def __call__(self, value: float) -> float:
        """The place of a value; values beyond the axis stand at its ends."""

    def ticks(self) -> list[Tick]:
        """What to write along the axis."""


def number(value: float, digits: int = 3) -> str:
    """A figure with `digits` digits that count, or all before the point."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def nanoseconds(value: float) -> str:
    """A time in the unit that suits it."""
    if not value:
        return "0"
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(value) >= size:
            return f"{number(value / size)} {unit}"
    return f"{value:.0f} ns"


def percent(share: float) -> str:
    """A share (0..1) in percent."""
    return f"{number(100 * share)}%"


class Linear:
    """Equal steps; `whole` keeps ticks to whole numbers. `count`: ticks at most, about."""

    def __init__(
        self,
        low: float,
        high: float,
        ends: tuple[float, float],
        label: Callable[[float], str] = number,
        count: int = 5,
        whole: bool = False,
    ) -> None:
        self.low, self.high, self.ends = low, max(high, low + 1e-9), ends
        self._label, self._count, self._whole = label, count, whole

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return _between((value - self.low) / (self.high - self.low), self.ends)

    def ticks(self) -> list[Tick]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        if not self._count:
            return []
        step = nice_step((self.high - self.low) / self._count)
        if self._whole:
            step = max(step, 1.0)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(k * step, self._label(k * step)) for k in range(first, last + 1)]


class Logarithmic:
    """Equal ratios; `stops` are the values to write along the axis, where only these occur."""

    def __init__(
        self,
        low: float,
        high: float,
        ends: tuple[float, float],
        label: Callable[[float], str] = number,
        stops: Sequence[float] = (),
    ) -> None:
        self.low, self.high, self.ends = low, max(high, low * 1.01), ends
        self._label, self._stops = label, stops

    def __call__(self, value: float) -> float:
        """The place of a value."""
        span = math.log(self.high / self.low)
        return _between(math.log(max(value, self.low) / self.low) / span, self.ends)

    def ticks(self) -> list[Tick]:
        """Powers of ten, with 2 and 5 or all digits between them where there are few."""
        if self._stops:
            return [(value, self._label(value)) for value in self._stops]
        decades = math.log10(self.high / self.low)
        digits: tuple[int, ...] = (1,)
        if decades < 0.7:
            digits = tuple(range(1, 10))
        elif decades < 2.2:
            digits = (1, 2, 5)
        every = 2 if decades > 5 else 1
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [digit * 10.0**power for power in powers if power % every == 0 for digit in digits]
        shown = [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]
        if len(shown) < 2:
            step = nice_step((self.high - self.low) / 4)
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            shown = [k * step for k in range(first, last + 1)]
        return [(value, self._label(value)) for value in shown]


class Categories:
    """Names in equal steps, the first at the left or at the top; the k-th has k as its value."""

    def __init__(self, names: Sequence[str], ends: tuple[float, float]) -> None:
        self.names, self.ends = names, (min(ends), max(ends))

    def __call__(self, value: float) -> float:
        """The place of a value; the k-th name has the room from k - 0.5 to k + 0.5."""
        return _between((value + 0.5) / max(len(self.names), 1), self.ends)

    def ticks(self) -> list[Tick]:
        """Every name."""
        return [(float(at), name) for at, name in enumerate(self.names)]


class Nines:
    """Shares from 0 up to 1 - 10 ** -nines: each further nine takes as much room."""

    def __init__(self, nines: float, ends: tuple[float, float]) -> None:
        self.nines, self.ends = nines, ends

    def __call__(self, value: float) -> float:
        """The place of a share."""
        return _between(-math.log10(max(1 - value, 1e-12)) / self.nines, self.ends)

    def ticks(self) -> list[Tick]:
        """50%, 90%, 99%, 99.9%, ... and 0% where it does not stand too close."""
        shares = [
            *([0.0] if self.nines < 2.5 else []),
            0.5,
            *(1 - 10.0**-k for k in range(1, math.floor(self.nines) + 1)),
        ]
        return [(share, f"{100 * share:.10g}%") for share in shares]


def nice_step(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(step, 1e-12)))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= step * 0.999)


def _between(share: float, ends: tuple[float, float]) -> float:
    return ends[0] + min(max(share, 0.0), 1.0) * (ends[1] - ends[0])
