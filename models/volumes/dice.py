"""DICE: how much two segmentations overlap, 2 |P and T| / (|P| + |T|)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.task import Array

SMOOTH = 1e-6
"""Added above and below by KiTS19's script: 1 where neither has a voxel of the class."""
BRATS_REGIONS: dict[str, tuple[int, ...]] = {
    "whole tumor": (1, 2, 3),
    "tumor core": (2, 3),
    "enhancing tumor": (3,),
}
"""Classes of each region, which lie in one another."""


@dataclass(frozen=True)
class Quality:
    """DICE by the classes' or regions' names, means over `cases` volumes."""

    by_name: Mapping[str, float]
    cases: int

    @property
    def mean(self) -> float:
        """The mean over classes: what MLPerf scores."""
        return float(np.mean(list(self.by_name.values())))

    @property
    def line(self) -> str:
        """As MLPerf's scripts print it."""
        rest = "".join(f", {name} = {value:.4f}" for name, value in self.by_name.items())
        return f"Accuracy: mean = {self.mean:.5f}{rest}"


def counts(predicted: Array, truth: Array, classes: int) -> NDArray[np.int64]:
    """Voxels by (predicted class, true class). Raises ValueError for classes that are none."""
    pairs = np.zeros((classes, classes), np.int64)
    for seen, meant in zip(predicted, truth, strict=True):  # plane by plane: few bytes at once
        if max(seen.max(initial=0), meant.max(initial=0)) >= classes:
            raise ValueError(f"a class beyond {classes - 1}")
        joint = seen.astype(np.intp).ravel() * classes + meant.ravel()
        pairs += np.bincount(joint, minlength=classes**2).reshape(classes, classes)
    return pairs


def by_class(pairs: NDArray[np.int64]) -> list[float]:
    """DICE of each class but the background, as KiTS19's script computes it."""
    return [
        (2.0 * pairs[c, c] + SMOOTH) / (pairs[c].sum() + pairs[:, c].sum() + SMOOTH)
        for c in range(1, len(pairs))
    ]


def by_region(pairs: NDArray[np.int64]) -> list[float]:
    """DICE of BraTS's regions; not a number where neither has a voxel of it."""
    found = []
    for classes in map(list, BRATS_REGIONS.values()):
        total = pairs[classes].sum() + pairs[:, classes].sum()
        both = pairs[np.ix_(classes, classes)].sum()
        found.append(float(2 * both / total) if total else float("nan"))
    return found


def mean_over(
    cases: Sequence[NDArray[np.int64]],
    names: Sequence[str],
    dice: Callable[[NDArray[np.int64]], Sequence[float]],
) -> Quality:
    """The mean of each class or region over the cases that have one; 0 where none has."""
    table = np.array([dice(pairs) for pairs in cases], np.float64).reshape(len(cases), len(names))
    known = ~np.isnan(table)
    sums = np.where(known, table, 0.0).sum(0)
    means = sums / np.maximum(known.sum(0), 1)
    return Quality(dict(zip(names, map(float, means), strict=True)), len(cases))
