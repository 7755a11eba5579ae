"""Questions with as much of their paragraph as the network takes: MLPerf's features.

A window is ``[CLS] question [SEP] part of the paragraph [SEP]``, at most 384 word pieces. Where a
paragraph is longer, windows begin 128 pieces after each other. A piece that is in several windows
counts in the one in which it has most context on its poorer side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError, quoted
from models.squad.articles import Question
from models.squad.vocabulary import Vocabulary

LONGEST = 384
LONGEST_QUESTION = 64
STRIDE = 128
MARKS = 3  # [CLS] and two [SEP]
VERSION = "1"
"""Of what this module makes of a text: part of every key that rests on it."""


@dataclass(frozen=True, slots=True)
class Window:
    """One sequence for the network, and what of the paragraph its pieces stand for."""

    question: int
    """Index of its question."""
    ids: NDArray[np.int32]
    second: int
    """Where the second segment begins: the first piece of the paragraph."""
    words: NDArray[np.int32]
    """The word of each of the paragraph's pieces, from `second` on; the last [SEP] has none."""
    counts: NDArray[np.bool_]
    """Whether the piece has more context here than in any other window."""


def make_windows(questions: Sequence[Question], vocabulary: Vocabulary) -> list[Window]:
    """Return the windows of all questions, in their order. Raises InputError."""
    return list(_windows(questions, vocabulary))


def _windows(questions: Sequence[Question], vocabulary: Vocabulary) -> Iterator[Window]:
    paragraph: tuple[str, ...] = ()
    pieces, word_of = np.zeros(0, np.int32), np.zeros(0, np.int32)
    cls, sep = vocabulary.cls, vocabulary.sep
    for index, question in enumerate(questions):
        asked = vocabulary.ids(question.text)
        if len(asked) > LONGEST_QUESTION:
            raise InputError(
                f"question {quoted(question.id)} has {len(asked)} word pieces, at most "
                f"{LONGEST_QUESTION} are allowed: shorten it"
            )
        if question.words is not paragraph:
            paragraph = question.words
            of_words = vocabulary.ids_of_words(paragraph)
            pieces = np.fromiter(chain.from_iterable(of_words), np.int32)
            word_of = np.repeat(np.arange(len(of_words), dtype=np.int32), list(map(len, of_words)))
        if not len(pieces):
            raise InputError(
                f"question {quoted(question.id)}: of its context no word piece is left"
            )
        room = LONGEST - len(asked) - MARKS
        spans = list(_spans(len(pieces), room))
        counts = _counting(spans, len(pieces))
        for (start, end), counting in zip(spans, counts, strict=True):
            ids = np.array([cls, *asked, sep, *pieces[start:end], sep], np.int32)
            yield Window(index, ids, len(asked) + 2, word_of[start:end], counting)


def _spans(size: int, room: int) -> Iterator[tuple[int, int]]:
    start = 0
    while True:
        end = min(start + room, size)
        yield start, end
        if end == size:
            return
        start += min(end - start, STRIDE)


def _counting(spans: Sequence[tuple[int, int]], size: int) -> list[NDArray[np.bool_]]:
    """Of each span, whether its pieces have most context there; the first of equals has it."""
    place = np.arange(size)
    context = [
        np.where(
            (place >= start) & (place < end),
            np.minimum(place - start, end - 1 - place) + 0.01 * (end - start),
            -np.inf,
        )
        for start, end in spans
    ]
    best = np.argmax(context, axis=0)
    return [best[start:end] == number for number, (start, end) in enumerate(spans)]
