"""LoadGen's objects for answers, in slots of rings and from an engine in this process."""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Iterator
from pathlib import Path

import mlperf_loadgen as lg
import numpy as np
import pytest

from loadrun.library import SampleLibrary, arena_layout
from loadrun.responses import SlotResponses, make_responses
from loadrun.sut import Answer, InProcessSUT
from loadrun.timeline import Timeline
from models.samples import save
from models.task import Field
from shm.arena import SampleArena
from shm.ring import RingGeometry, Rings

Said = list[tuple[int, int, int]]


def said(responses: list[lg.QuerySampleResponse]) -> Said:
    """(id, address, bytes) of each."""
    return [(response.id, response.data, response.size) for response in responses]


def test_answers_lie_one_behind_the_other() -> None:
    assert said(make_responses([7, 8, 9], 1000, [4, 0, 12])) == [
        (7, 1000, 4),
        (8, 1004, 0),
        (9, 1004, 12),
    ]


def test_ids_and_lengths_are_equally_many() -> None:
    with pytest.raises(ValueError):
        make_responses([7, 8], 1000, [4])


@pytest.fixture
def rings() -> Iterator[Rings]:
    with Rings.create(f"t{secrets.token_hex(6)}", RingGeometry(1, 1, 3, 8)) as rings:
        try:
            yield rings
        finally:
            rings.unlink()


def test_a_slot_says_what_it_holds_now(rings: Rings) -> None:
    producer, consumer, slots = (
        rings.response_producer(0),
        rings.response_consumer(0),
        SlotResponses(),
    )
    batches: list[tuple[list[int], list[int]]] = [
        ([1, 2], [4, 4]),
        ([3, 4], [4, 4]),
        ([5], [4]),
        ([6, 7, 8], [4, 4, 4]),
        ([9, 10, 11], [8, 0, 4]),
        ([12, 13], [8, 0]),
        ([14, 15], [4, 4]),
    ]
    for ids, lengths in batches:
        assert producer.send(ids, bytes(sum(lengths)), lengths, 0)
        response = consumer.peek()
        assert response is not None
        assert said(slots(response)) == said(make_responses(ids, response.address, lengths))
        response.release()


class Answering:
    """An engine in this process whose answers a test sets, and what LoadGen was handed of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        row = {"pixels": np.zeros(1, np.uint8)}
        samples = save(folder / "samples", [Field("pixels", "|u1", (1,))], [row] * 4)
        library = SampleLibrary(samples, SampleArena.private(arena_layout(samples, 4)))
        library.load([0, 1, 2, 3])
        self.answer: Answer = b"", 0
        self.handed: list[tuple[int, bytes]] = []
        self.sut = InProcessSUT(library, lambda _: self.answer, 4, Timeline(timed=True), None)
        monkeypatch.setattr(lg, "QuerySamplesComplete", self._complete)

    def _complete(self, responses: list[lg.QuerySampleResponse]) -> None:
        self.handed += [(r.id, ctypes.string_at(r.data, r.size)) for r in responses]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((np.array([1, 2], "<i4"), 4), [b"\1\0\0\0", b"\2\0\0\0"]),
        ((np.array([1, 9, 2, 9], np.uint8)[::2], 1), [b"\1", b"\2"]),
        ((b"abc", [1, 2]), [b"a", b"bc"]),
        ((memoryview(b"abc"), [3, 0]), [b"abc", b""]),
    ],
    ids=["array", "scattered", "bytes", "view"],
)
def test_an_engine_in_this_process_is_heard(
    answer: Answer, expected: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Answering(tmp_path, monkeypatch)
    engine.answer = answer
    engine.sut.issue([5, 6], [0, 1])
    assert engine.handed == list(zip([5, 6], expected, strict=True))


@pytest.mark.parametrize("answer", [(b"abc", 2), (b"abc", [1]), (b"abc", [1, 1, 1])])
def test_answers_that_do_not_fit_are_no_answers(
    answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Answering(tmp_path, monkeypatch)
    engine.answer = answer
    with pytest.raises(ValueError):
        engine.sut.issue([5, 6], [0, 1])
    assert not engine.handed
