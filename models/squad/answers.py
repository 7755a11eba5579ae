"""From logits to answers: the best span of a question's windows, as text of its paragraph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.squad.articles import Question
from models.squad.vocabulary import Vocabulary
from models.squad.windows import Window

BEST = 20
"""Starts and ends of a window that are looked at."""
LONGEST_ANSWER = 30
NONE = "empty"
"""The reference's answer where no span is possible."""
Logits = NDArray[np.float32]


def best_span(window: Window, logits: Logits) -> tuple[float, int, int] | None:
    """The best span of a window as (sum of its logits, first piece, last piece), or None.

    `logits` are (pieces, 2): start and end. Both ends lie in the paragraph, the start where it
    counts. Of equals, the one with the better start, then the earlier piece.
    """
    start, end = logits.astype(np.float64)[: len(window.ids)].T
    starts, ends = (np.argsort(-values, kind="stable")[:BEST] for values in (start, end))
    second, behind = window.second, window.second + len(window.words)
    starts = starts[(starts >= second) & (starts < behind)]
    starts = starts[window.counts[starts - second]]
    ends = ends[(ends >= second) & (ends < behind)]
    if not len(starts) or not len(ends):
        return None
    length = ends - starts[:, None] + 1
    sums = start[starts][:, None] + end[ends]
    sums[(length < 1) | (length > LONGEST_ANSWER)] = -np.inf
    first, last = np.unravel_index(np.argmax(sums), sums.shape)
    if np.isneginf(sums[first, last]):
        return None
    return float(sums[first, last]), int(starts[first]), int(ends[last])


def answer(
    question: Question, given: Sequence[tuple[Window, Logits]], vocabulary: Vocabulary
) -> str:
    """The text that windows of a question answer with."""
    best: tuple[float, Window, int, int] | None = None
    for window, logits in given:
        span = best_span(window, logits)
        if span is not None and (best is None or span[0] > best[0]):
            best = (span[0], window, span[1], span[2])
    if best is None:
        return NONE
    _, window, first, last = best
    words = window.words[first - window.second : last - window.second + 1]
    text = " ".join(question.words[words[0] : words[-1] + 1])
    return narrow(vocabulary.text(window.ids[first : last + 1]), text, vocabulary)


def narrow(pieces: str, text: str, vocabulary: Vocabulary) -> str:
    """The part of `text`, whole words, that `pieces` stand for, as it is written there.

    `pieces` are in lower case and without accents. Where characters cannot be matched one by one,
    all of the text is returned.
    """
    normal = vocabulary.basic(text)
    at = normal.find(pieces)
    places = [place for place, character in enumerate(text) if character != " "]
    if not pieces or at < 0 or len(places) != _characters(normal):
        return text
    before = _characters(normal[:at])
    return text[places[before] : places[before + _characters(pieces) - 1] + 1]


def _characters(text: str) -> int:
    return len(text) - text.count(" ")
