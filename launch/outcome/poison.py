"""The error of a run that ended because instances died of one of its samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from base.checked import read
from launch.supervise.deaths import Death
from loadrun.report import Report

MOST = 8
"""More samples than this are not read; run.json has all."""

NamesOf = Callable[[Sequence[int]], list[str | None]]
"""The files of sample indices; None where there is none to name."""


@dataclass
class Poison:
    """One of the samples `samples` (LoadGen's indices) is the cause of these `deaths`."""

    samples: list[int]
    files: list[str | None]
    deaths: list[Death]

    def __str__(self) -> str:
        died = ", ".join(f"instance {death.instance} {death.end}" for death in self.deaths)
        return f"{self._which()} ends every instance that works on it: {died}" + self._last_words()

    def _which(self) -> str:
        named = [
            f"{sample} ({file})" if file else str(sample)
            for sample, file in zip(self.samples, self.files, strict=True)
        ]
        if len(named) == 1:
            return f"sample {named[0]}"
        more = f" and {len(named) - MOST} more" if len(named) > MOST else ""
        return f"one of samples {', '.join(named[:MOST])}{more}"

    def _last_words(self) -> str:
        # The log of an instance goes on after a restart: its later words hold the earlier ones.
        words = {death.instance: death.last_words for death in self.deaths}
        parts = [
            f"; last lines of instance {instance}:\n{text}"
            for instance, text in words.items()
            if text
        ]
        return "".join(parts) or "; they printed nothing"


@dataclass(frozen=True)
class _Reported:
    """What loadrun says of it; a death is an instance, and how often that had died before."""

    samples: list[int]
    deaths: list[tuple[int, int]]


def read_poison(report: Report | None, deaths: Sequence[Death], names_of: NamesOf) -> Poison | None:
    """Read what loadrun reported of its end; None where that was another one.

    loadrun names a death by its instance and how often that had died before.
    """
    if report is None or not report.poison:
        return None
    found = read(_Reported, report.poison)
    guilty = [
        [death for death in deaths if death.instance == instance][earlier]
        for instance, earlier in found.deaths
    ]
    return Poison(found.samples, names_of(found.samples), guilty)
