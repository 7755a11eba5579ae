"""The classifier of a synthetic model, fitted by ridge regression in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RIDGE = 0.03
"""Weight of the penalty, relative to the features' mean squared distance from their mean."""
RANGE = 8.0
"""Distance between the target outputs of the right class and of the others."""
UNUSED = -4.0
"""Mean output of the classes that no image belongs to."""
SEED = 7


def fit_head(
    features: npt.NDArray[np.float32], outputs: Sequence[int], count: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return weight [count, d] and bias [count] that map features [n, d] to their outputs.

    Outputs that none of the features belong to get small random weights, so that all channels
    are of a similar scale, and a bias that keeps them out of the way.
    """
    used = sorted(set(outputs))
    targets = RANGE * (np.asarray(outputs)[:, None] == np.asarray(used)).astype(np.float64)
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    # With fewer images than features, the n x n form of the normal equations is the small one.
    gram = centred @ centred.T
    penalty = RIDGE * np.trace(gram) / len(gram)
    solution = np.linalg.solve(gram + penalty * np.eye(len(gram)), targets - targets.mean(axis=0))
    fitted = (centred.T @ solution).T
    weight = np.random.default_rng(SEED).normal(0, fitted.std() / 2, (count, len(mean)))
    offset = np.full(count, UNUSED)
    weight[used] = fitted
    offset[used] = targets.mean(axis=0)
    return weight.astype(np.float32), (offset - weight @ mean).astype(np.float32)
