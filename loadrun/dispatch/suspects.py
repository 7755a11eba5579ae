"""Samples that instances died of, as far as anybody can tell.

An instance works on one batch at a time. When it dies of something that may lie within, every
sample of that batch is under suspicion, until one of the same arena position is answered: whoever
computed it has lived. A batch whose samples have cost two whole deaths is poison, and nothing is
gained by giving it to yet another instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shm.control import Blame

POISON = 2 * Blame.FULL
"""So much blame, and a batch is given to nobody any more."""

Death = tuple[int, int]
"""An instance, and how often it had died before."""


class PoisonError(RuntimeError):
    """Instances died of one of these `samples`; `deaths` in the order in which they happened.

    Samples are arena positions where the dispatcher raises it, LoadGen's indices from there on.
    """

    def __init__(self, samples: Sequence[int], deaths: Sequence[Death]) -> None:
        self.samples = list(samples)
        self.deaths = list(deaths)
        which = ", ".join(map(str, self.samples))
        died = ", ".join(str(instance) for instance, _ in self.deaths)
        which = f"sample {which}" if len(self.samples) == 1 else f"one of samples {which}"
        super().__init__(f"{which} ends the instances that work on it; died of it: {died}")


@dataclass
class _Suspicion:
    blame: int = 0  # 0: answered since
    deaths: list[Death] = field(default_factory=list)


class Suspects(dict[int, _Suspicion]):
    """Suspicions by arena position; empty when there are none."""

    def accuse(self, positions: Sequence[int], death: Death, blame: Blame) -> None:
        """Note that an instance died with this batch in work; PoisonError when that is too often.

        Nobody is convicted for chance: of a batch with strangers to earlier deaths, any may be the
        cause of this one.
        """
        batch = set(positions)
        cleared = {p for p in batch if p in self and not self[p].blame}
        doubtful = sorted(batch - cleared or batch)
        for position in doubtful:
            suspicion = self.setdefault(position, _Suspicion())
            suspicion.blame += blame
            suspicion.deaths.append(death)
        if all(self[position].blame >= POISON for position in doubtful):
            deaths = {death: None for position in doubtful for death in self[position].deaths}
            raise PoisonError(doubtful, list(deaths))

    def answered(self, positions: Sequence[int]) -> None:
        """Lift the suspicion from these; when none is left, all is forgotten."""
        for position in positions:
            suspicion = self.get(position)
            if suspicion is not None:
                suspicion.blame = 0
                suspicion.deaths.clear()
        if not any(suspicion.blame for suspicion in self.values()):
            self.clear()
