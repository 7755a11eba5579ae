"""Area under the ROC curve and accuracy of predicted clicks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def roc_auc(clicked: npt.NDArray[np.uint8], predicted: npt.NDArray[np.float32]) -> float:
    """Return the probability that a clicked pair is predicted higher than one that is not.

    Equal predictions count a half: the Mann-Whitney statistic with mean ranks (Fawcett 2006). NaN
    where all pairs are of one kind. `clicked` is uint8 [n], `predicted` float32 [n].
    """
    positives = int(np.count_nonzero(clicked))
    negatives = len(clicked) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    order = np.argsort(predicted, kind="stable")
    values = predicted[order]
    hits = clicked[order] != 0
    # Where runs of equal predictions begin; all of a run have the mean of its ranks.
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    ends = np.append(begins[1:], len(values))
    of_run = np.add.reduceat(hits.astype(np.int64), begins)
    # Twice the mean rank (from 1) is an integer: nothing is rounded in the sum.
    ranks = int(np.sum(of_run * (begins + ends + 1), dtype=np.int64))
    return (ranks / 2 - positives * (positives + 1) / 2) / (positives * negatives)


def line(clicked: npt.NDArray[np.uint8], predicted: npt.NDArray[np.float32], queries: int) -> str:
    """Return what MLPerf's accuracy-dlrm.py prints; right is what rounds to the label."""
    good = int(np.count_nonzero(np.rint(predicted) == clicked))
    total = len(clicked)
    return (
        f"AUC={100 * roc_auc(clicked, predicted):.3f}%, accuracy={100 * good / total:.3f}%, "
        f"good={good}, total={total}, queries={queries}"
    )
