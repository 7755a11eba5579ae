"""Greedy decoding of several utterances side by side.

The reference asks one utterance after the other: at each frame, spell the likeliest label until it
is blank, at most 30 times. Here each round takes every utterance to its next label: with the same
prediction, the joint network looks at several frames ahead at once, and the blank ones are passed.
An utterance that is through leaves the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.librispeech.labels import BLANK
from models.task import Run

Array = npt.NDArray[Any]

AHEAD = 4
"""Frames that the joint network looks at together."""
MOST = 30
"""Labels that are spelt at one frame at most (MLPerf's rule)."""


def greedy(encoded: Array, lengths: Array, prediction: Run, joint: Run) -> list[list[int]]:
    """Return the labels of each utterance.

    `encoded` is float32 [n, T, J], of which `lengths` int [n] frames are valid.
    """
    count = len(encoded)
    spelt: list[list[int]] = [[] for _ in range(count)]
    who = np.flatnonzero(lengths > 0)
    if not len(who):
        return spelt
    frame = np.zeros(count, np.int64)
    at_frame = np.zeros(count, np.int64)
    """Labels that were spelt at this frame."""
    found = prediction(
        label=np.full(count, BLANK, np.int64),
        # Without a state: the start.
        hidden=np.zeros((count, 0, 0), np.float32),
        cell=np.zeros((count, 0, 0), np.float32),
    )
    predicted, hidden, cell = (np.array(found[name]) for name in ("predicted", "hidden", "cell"))
    while len(who):
        labels = _next_labels(encoded, lengths, predicted, who, frame, at_frame, joint)
        going = labels != BLANK
        who, labels = who[going], labels[going]
        if not len(who):
            break
        for one, label in zip(who.tolist(), labels.tolist(), strict=True):
            spelt[one].append(label)
        at_frame[who] += 1
        full = who[at_frame[who] == MOST]
        frame[full] += 1
        at_frame[full] = 0
        who_next = who[frame[who] < lengths[who]]
        labels = labels[frame[who] < lengths[who]]
        who = who_next
        if len(who):
            found = prediction(label=labels, hidden=hidden[who], cell=cell[who])
            predicted[who] = found["predicted"]
            hidden[who], cell[who] = found["hidden"], found["cell"]
    return spelt


def _next_labels(
    encoded: Array,
    lengths: Array,
    predicted: Array,
    who: Array,
    frame: Array,
    at_frame: Array,
    joint: Run,
) -> Array:
    """Move each utterance's `frame` to its next label: int [len(who)], BLANK where none is left."""
    labels = np.full(len(who), BLANK, np.int64)
    looking = np.arange(len(who))
    steps = np.arange(AHEAD)
    last = encoded.shape[1] - 1
    while len(looking):
        ones = who[looking]
        frames = frame[ones][:, None] + steps
        valid = frames < lengths[ones][:, None]
        rows = encoded[ones[:, None], np.minimum(frames, last)]
        width = rows.shape[2]
        found = joint(
            encoded=rows.reshape(-1, width), predicted=np.repeat(predicted[ones], AHEAD, axis=0)
        )["label"].reshape(valid.shape)
        hit = (found != BLANK) & valid
        first = np.where(hit.any(1), hit.argmax(1), AHEAD)
        moved = first > 0
        frame[ones] = np.minimum(frame[ones] + first, lengths[ones])
        at_frame[ones[moved]] = 0
        spelling = first < AHEAD
        labels[looking[spelling]] = found[spelling, first[spelling]]
        looking = looking[~spelling & (frame[ones] < lengths[ones])]
    return labels
