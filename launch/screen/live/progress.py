"""How far a test is, and how long it still takes."""

from __future__ import annotations

from dataclasses import dataclass

from loadrun.durations import duration

FORETELLS_S = 5.0
"""Before this the rate so far foretells less than what loadrun expects."""


@dataclass(frozen=True)
class Steps:
    """What long samples consist of: how people call it, and how much of it a mean sample has."""

    unit: str
    each: float


@dataclass(frozen=True)
class Progress:
    """A test that has gone on for `gone_s`.

    `done` of `expected` samples are answered; `expected_s` is how long loadrun foresaw it to take.
    None where it is not known: nothing has been read yet, or the test ends by the clock. `even`:
    samples take about as long in any part of the test, so that their number tells how far it is.
    Where these are long, `stepped` of their `steps` are done.
    """

    gone_s: float
    expected_s: float | None
    done: int | None
    expected: int | None
    even: bool = True
    steps: Steps | None = None
    stepped: int = 0

    @property
    def expected_steps(self) -> int | None:
        """All steps of the test, about; None where they are not known, or not seen."""
        if self.steps is None or not self.stepped or not self.expected:
            return None
        return max(round(self.expected * self.steps.each), self.stepped)

    @property
    def work(self) -> str:
        """What of long samples is done, for people; "" where nothing is seen of it."""
        if self.steps is None or not self.stepped:
            return ""
        of = f" of {self.expected_steps:,}" if self.expected_steps else ""
        return f"{self.stepped:,}{of} {self.steps.unit}"

    @property
    def rate(self) -> float | None:
        """Samples/s so far; None in the first second, which means nothing."""
        if self.done is None or self.gone_s < 1:
            return None
        return self.done / self.gone_s

    @property
    def share(self) -> float | None:
        """Part of the test that is over (0..1); never beyond its end, however late it is."""
        if self.expected_steps:
            return self.stepped / self.expected_steps
        counts = self.even or not self.expected_s
        if counts and self.done is not None and self.expected:
            return min(self.done / self.expected, 1.0)
        return min(self.gone_s / self.expected_s, 1.0) if self.expected_s else None

    @property
    def left_s(self) -> float | None:
        """Time left: by the rate where the number of samples is known, else by the clock."""
        if self.expected_steps and self.gone_s >= FORETELLS_S:
            return (self.expected_steps - self.stepped) * self.gone_s / self.stepped
        rate = self.rate
        foretells = (self.even and self.gone_s >= FORETELLS_S) or not self.expected_s
        if rate and foretells and self.done is not None and self.expected:
            return max(self.expected - self.done, 0) / rate
        return max(self.expected_s - self.gone_s, 0.0) if self.expected_s else None

    def __str__(self) -> str:
        """One plain line, without the share: time, samples, rate."""
        text = duration(self.gone_s)
        if self.expected_s:
            text += f" of about {duration(self.expected_s)}"
        if self.done is not None and self.gone_s >= 1:
            of = f" of {self.expected}" if self.expected else ""
            text += f", {self.done}{of} samples, {self.rate:.4g} samples/s"
        if self.work:
            text += f", {self.work}"
        return text
