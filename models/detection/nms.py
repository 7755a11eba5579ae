"""Non-maximum suppression: of boxes of one class that overlap, the one with the best score stays.

Greedy, class by class, as all references do it, but without a loop over boxes: the pairs of a class
that overlap too much are found at once, and who survives is settled in rounds, as many as the
longest chain of boxes that suppress one another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

FIRST = 512
"""Boxes that are looked at to begin with: with luck, enough of the best ones survive."""
PAIRS = 1 << 20
"""Pairs that are compared at once."""


def kept(
    boxes: Array, scores: Array, labels: Indices, overlap: float, most: int, reaching: bool = False
) -> Indices:
    """Indices of the survivors with the best scores, at most `most`, by falling score.

    `boxes` are float32 [n, 4], two opposite corners each. A box suppresses those after it of its
    class whose intersection over union with it is greater than `overlap`, or, with `reaching`,
    equal to it.
    """
    order = np.argsort(-scores, kind="stable")
    # What has a lower score suppresses nobody above: the best survivors are final early.
    count = FIRST
    while True:
        best = order[:count]
        alive = _survivors(boxes[best], labels[best], overlap, reaching)
        if count >= len(order) or np.count_nonzero(alive) >= most:
            survivors: Indices = best[alive][:most]
            return survivors
        count *= 2


def _survivors(boxes: Array, labels: Indices, overlap: float, reaching: bool) -> npt.NDArray[Any]:
    """Which boxes, sorted by falling score, survive."""
    by_class = np.argsort(labels, kind="stable")
    boxes, labels = boxes[by_class], labels[by_class]
    ends = np.searchsorted(labels, labels, side="right")
    below = ends - np.arange(len(labels)) - 1  # boxes of its class that one might suppress
    winners, losers = [], []
    for start, end in _chunks(below):
        counts = below[start:end]
        first = np.repeat(np.arange(start, end), counts)
        begin = np.repeat(np.cumsum(counts) - counts, counts)
        second = first + 1 + np.arange(len(first)) - begin
        ratio = _overlaps(boxes, first, second)
        hit = ratio >= np.float32(overlap) if reaching else ratio > np.float32(overlap)
        winners.append(first[hit])
        losers.append(second[hit])
    alive = np.ones(len(boxes), bool)
    if winners:
        winner, loser = np.concatenate(winners), np.concatenate(losers)
        while True:
            now = np.ones(len(boxes), bool)
            now[loser[alive[winner]]] = False
            if np.array_equal(now, alive):
                break
            alive = now
    result = np.empty(len(boxes), bool)
    result[by_class] = alive
    return result


def _chunks(below: Indices) -> list[tuple[int, int]]:
    """Ranges of boxes that have about PAIRS pairs each."""
    total = np.cumsum(below)
    if not len(total) or not total[-1]:
        return []
    cuts = np.searchsorted(total, np.arange(PAIRS, total[-1], PAIRS)) + 1
    edges = np.unique(np.concatenate([[0], cuts, [len(below)]]))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _overlaps(boxes: Array, first: Indices, second: Indices) -> Array:
    """Intersection over union of pairs, in the order of operations of torchvision's `nms`."""
    left, top, right, bottom = boxes.T
    area = (right - left) * (bottom - top)
    width = np.minimum(right[first], right[second]) - np.maximum(left[first], left[second])
    height = np.minimum(bottom[first], bottom[second]) - np.maximum(top[first], top[second])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 of two empty boxes is no overlap
        ratio: Array = shared / (area[first] + area[second] - shared)
    return ratio
