"""From what a task answers to what a response ring takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.task import Answers
from netrun.engines import Answer, EngineError
from shm.ring import Payload

_BYTES = {bytes}
_FEW = 4096


class Piece(NamedTuple):
    """A part of a batch's answers that fits a slot of the ring; `rest` samples follow it."""

    ids: list[int]
    payload: Payload
    lengths: Sequence[int] | int
    rest: int


def pack(answers: Answers, count: int, most: int) -> Answer:
    """Put the answers to `count` samples one behind the other, at most `most` bytes each.

    Raises EngineError for answers that are not so many, or longer.
    """
    if len(answers) != count:
        raise EngineError(f"the task gave {len(answers)} answers to a batch of {count} samples")
    payload: Payload
    lengths: list[int] | int
    if isinstance(answers, np.ndarray):
        lengths = longest = answers.nbytes // count
        # Of few bytes a copy is quicker than a view.
        payload = answers.tobytes() if answers.nbytes < _FEW else np.ascontiguousarray(answers)
    else:
        items: Sequence[Any] = answers
        if set(map(type, items)) == _BYTES:
            lengths = list(map(len, items))
        else:
            items = [np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in items]
            lengths = [a.nbytes if isinstance(a, np.ndarray) else len(a) for a in items]
        payload = b"".join(items)
        longest = lengths[0]
        if lengths.count(longest) == count:
            lengths = longest
        else:
            longest = max(lengths)
    if longest > most:
        raise EngineError(
            f"the task answered a sample with {longest} bytes; its answer_bytes is {most}"
        )
    return Answer(payload, lengths)


def pieces(ids: list[int], answer: Answer, capacity: int) -> Iterator[Piece]:
    """Cut the answers to a batch into parts of at most `capacity` bytes, of whole samples each."""
    count = len(ids)
    lengths = answer.lengths
    if isinstance(lengths, int):
        lengths = [lengths] * count
    payload = memoryview(answer.payload).cast("B")
    first = start = 0
    while first < count:
        last, end = first + 1, start + lengths[first]
        while last < count and end - start + lengths[last] <= capacity:
            end += lengths[last]
            last += 1
        yield Piece(ids[first:last], payload[start:end], lengths[first:last], count - last)
        first, start = last, end
