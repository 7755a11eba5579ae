"""Answers as MLPerf's accuracy scripts read them: rows of seven float32 numbers.

A row is sample index, top, left, bottom, right (parts of the image's height and width), score and
label. An image without detections has an answer of no bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

COLUMNS = 7
ROW_BYTES = 4 * COLUMNS
Array = npt.NDArray[np.float32]


class Detections(NamedTuple):
    """What was found in one image, by falling score."""

    boxes: Array
    """Float32 [n, 4]: left, top, right, bottom, as parts of width and height."""
    scores: Array
    labels: npt.NDArray[np.int64]

    def answer(self, index: int) -> Array:
        """Rows float32 [n, 7] for the sample of this index."""
        rows = np.empty((len(self.scores), COLUMNS), np.float32)
        rows[:, 0] = index
        rows[:, 1:5] = self.boxes[:, [1, 0, 3, 2]]
        rows[:, 5] = self.scores
        rows[:, 6] = self.labels
        return rows


def rows_of(answer: bytes) -> Array:
    """The rows of an answer; what is shorter than one row are none. Raises ValueError."""
    if len(answer) < ROW_BYTES:
        return np.zeros((0, COLUMNS), np.float32)
    if len(answer) % ROW_BYTES:
        raise ValueError(f"{len(answer)} bytes are no rows of {COLUMNS} float32 numbers")
    return np.frombuffer(answer, "<f4").reshape(-1, COLUMNS)
