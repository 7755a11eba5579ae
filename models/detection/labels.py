"""What a network's labels mean among the categories of an annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError


@dataclass(frozen=True)
class Labels:
    """Labels 0, 1, ... of a network's answers, and the ids of the categories that they name."""

    count: int
    """Categories that the network was trained on."""
    in_order: bool = False
    """Whether label 1 is the category with the lowest id, and so on (`--use-inv-map` of MLPerf's
    script); otherwise labels are ids."""
    ids: frozenset[int] = frozenset()
    """The ids, where labels are ids."""
    foreign: bool = False
    """Whether a network of other training is scored on those categories alone that it knows."""

    def categories(self, given: Sequence[int], source: Path) -> frozenset[int]:
        """The ids, of those `given`, that can be scored. Raises InputError for foreign ones."""
        if self.in_order:
            if len(given) != self.count:
                raise InputError(self._wrong(f"{len(given)} categories", source))
            return frozenset(given)
        known = self.ids & set(given)
        if self.foreign and known:
            return known
        strange = sorted(set(given) - self.ids)
        if strange:
            raise InputError(self._wrong(f"category {strange[0]}", source))
        return known

    def category(self, label: int, given: Sequence[int]) -> int:
        """The category's id; -1 for a label that names none."""
        if not self.in_order:
            return label
        return sorted(given)[label - 1] if 0 < label <= len(given) else -1

    def _wrong(self, what: str, source: Path) -> str:
        return (
            f"{source}: has {what}, and the weights' network tells {self.count} apart: give the "
            "annotations that belong to the weights"
        )
