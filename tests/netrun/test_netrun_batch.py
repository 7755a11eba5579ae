"""Batches: what tasks are given, from the arena and from memory, and what becomes of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.batch import RowBatch, Samples
from models.task import Answers
from netrun.answers import pack, pieces
from netrun.batch import ArenaBatch
from netrun.engines import EngineError
from shm.arena import ArenaField, ArenaLayout, SampleArena

ROWS: list[dict[str, Any]] = [
    {"pixels": np.full((2, 3), i, np.uint8), "ids": np.arange(i, dtype=np.int32)} for i in range(6)
]


@pytest.fixture
def arena() -> SampleArena:
    fields = (ArenaField("pixels", "|u1", (2, 3)), ArenaField("ids", "<i4", (None,)))
    arena = SampleArena.private(ArenaLayout(6, fields, 4096))
    for i, row in enumerate(ROWS):
        arena.put(i, 100 + i, 0.5 + i, row)
    return arena


def batches(arena: SampleArena, positions: list[int]) -> list[RowBatch]:
    rows = [ROWS[p] for p in positions]
    return [
        ArenaBatch(arena, positions),
        Samples(rows, [100 + p for p in positions], [0.5 + p for p in positions]),
    ]


@pytest.mark.parametrize("positions", [[0], [3], [2, 3, 4], [5, 1], [4, 4], [1, 3, 5]])
def test_a_batch_has_its_samples_in_order(arena: SampleArena, positions: list[int]) -> None:
    for batch in batches(arena, positions):
        assert len(batch) == len(positions)
        assert batch.indices == [100 + p for p in positions]  # type: ignore[attr-defined]
        assert batch.costs == [0.5 + p for p in positions]  # type: ignore[attr-defined]
        for view, p in zip(batch.views("ids"), positions, strict=True):
            np.testing.assert_array_equal(view, ROWS[p]["ids"])
        stacked = batch.stacked("pixels")
        assert stacked.shape == (len(positions), 2, 3)
        assert stacked[:, 0, 0].tolist() == positions
        padded = batch.padded("ids", 6, fill=-1)
        assert padded.dtype == np.int32
        assert padded.tolist() == [[*range(p), *[-1] * (6 - p)] for p in positions]


def test_neighbours_are_not_copied(arena: SampleArena) -> None:
    column = arena.columns["pixels"]
    for positions in ([2], [1, 2, 3]):
        assert np.shares_memory(ArenaBatch(arena, positions).stacked("pixels"), column)
    assert not np.shares_memory(ArenaBatch(arena, [1, 3]).stacked("pixels"), column)
    assert not np.shares_memory(ArenaBatch(arena, [2, 1]).stacked("pixels"), column)
    for view in ArenaBatch(arena, [1, 3]).views("pixels"):
        assert np.shares_memory(view, column)


def test_what_does_not_fit_together(arena: SampleArena) -> None:
    for batch in batches(arena, [2, 3]):
        with pytest.raises(ValueError):
            batch.stacked("ids")
        with pytest.raises(ValueError, match="ids: a sample of 3 does not fit 2"):
            batch.padded("ids", 2)
        with pytest.raises(KeyError):
            batch.views("nothing")


def test_padding_of_rows_of_several_dimensions() -> None:
    rows = [{"x": np.ones((n, 2), np.float32)} for n in (1, 3)]
    padded = Samples(rows).padded("x", 3)
    assert padded[:, :, 0].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert padded.shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("answers", "payload", "lengths"),
    [
        ([b"ab", b"cd"], b"abcd", 2),
        ([b"ab", b""], b"ab", [2, 0]),
        ([b"", b""], b"", 0),
        (np.array([1, 258], "<i4"), b"\1\0\0\0\2\1\0\0", 4),
        (np.array([[1, 9], [2, 9]], np.uint8)[:, :1], b"\1\2", 1),
        ([np.array([1], "<i2"), b"xyz"], b"\1\0xyz", [2, 3]),
        ([np.zeros((0, 7), "<f4"), np.ones((1, 1), np.uint8)], b"\1", [0, 1]),
        ([np.arange(4, dtype=np.uint8)[::2], np.arange(2, dtype=np.uint8)], b"\0\2\0\1", 2),
    ],
)
def test_answers_lie_one_behind_the_other(
    answers: Answers, payload: bytes, lengths: list[int] | int
) -> None:
    packed = pack(answers, 2, 8)
    assert bytes(packed.payload) == payload
    assert packed.lengths == lengths


def test_answers_must_be_as_many_as_samples_and_within_the_bound() -> None:
    with pytest.raises(EngineError, match="gave 1 answers to a batch of 2 samples"):
        pack([b"ab"], 2, 8)
    with pytest.raises(EngineError, match="with 9 bytes; its answer_bytes is 8"):
        pack([b"ab", bytes(9)], 2, 8)
    with pytest.raises(EngineError, match="with 9 bytes; its answer_bytes is 8"):
        pack(np.zeros((2, 9), np.uint8), 2, 8)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([3, 3, 3], [[0], [1], [2]]),
        ([2, 2, 2], [[0, 1], [2]]),
        ([5, 0, 0], [[0, 1, 2]]),
        ([0, 5, 1], [[0, 1], [2]]),
        ([1, 1, 1], [[0, 1, 2]]),
    ],
)
def test_what_a_slot_does_not_hold_goes_in_parts_of_whole_samples(
    lengths: list[int], expected: list[list[int]]
) -> None:
    answers = [bytes([65 + i]) * n for i, n in enumerate(lengths)]
    ids = [10, 11, 12]
    found = list(pieces(ids, pack(answers, 3, 8), 5))
    assert [piece.ids for piece in found] == [[10 + i for i in part] for part in expected]
    assert [bytes(piece.payload) for piece in found] == [
        b"".join(answers[i] for i in part) for part in expected
    ]
    assert [piece.rest for piece in found] == [
        3 - sum(map(len, expected[: i + 1])) for i in range(len(expected))
    ]
    assert [n for piece in found for n in piece.lengths] == lengths  # type: ignore[union-attr]
