"""The collector on real rings, with LoadGen's part replaced."""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Iterator

import mlperf_loadgen as lg
import pytest

from loadrun.completion import Collector
from loadrun.dispatch.batching import ThroughputRule
from loadrun.dispatch.dispatcher import Dispatcher
from loadrun.dispatch.policies import make_policy
from loadrun.timeline import Timeline
from shm.control import ControlBlock, InstanceState
from shm.ring import LARGE, RingGeometry, Rings

INSTANCES = 20


class Run:
    """Rings of many instances, all of which hold two batches of one sample."""

    def __init__(self, rings: Rings, control: ControlBlock, handed: list[list[int]]) -> None:
        self.rings, self.handed = rings, handed
        self.control = control
        self.dispatcher = Dispatcher(
            [rings.request_producer(i) for i in range(INSTANCES)],
            make_policy("round_robin", INSTANCES, 2),
            ThroughputRule(1, 2),
        )
        self.collector = Collector(
            rings, control, self.dispatcher, Timeline(timed=False), lambda positions: positions
        )
        self.dispatcher.submit(list(range(2 * INSTANCES)), [0] * (2 * INSTANCES))

    def answer(self, instance: int) -> None:
        """Let an instance answer the oldest batch that it has not taken."""
        request = self.rings.request_consumer(instance).receive(1.0)
        assert request is not None
        assert self.rings.response_producer(instance).send(request.ids, bytes(4), 4, 1000)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    handed: list[list[int]] = []

    def complete(responses: list[lg.QuerySampleResponse]) -> None:
        handed.append([response.id for response in responses])

    monkeypatch.setattr(lg, "QuerySamplesComplete", complete)
    run_id = f"t{secrets.token_hex(6)}"
    with (
        Rings.create(run_id, RingGeometry(INSTANCES, 3, 1, 4)) as rings,
        ControlBlock.create(run_id, INSTANCES) as control,
    ):
        try:
            yield Run(rings, control, handed)
        finally:
            rings.unlink()
            control.unlink()


def test_answers_of_many_instances_go_to_loadgen_in_few_calls(run: Run) -> None:
    for instance in range(INSTANCES):
        run.answer(instance)
    run.collector.collect()
    assert run.handed == [list(range(16)), list(range(16, 20))]
    assert run.dispatcher.answered == INSTANCES
    assert run.rings.ready() == []


def test_the_second_answer_of_an_instance_waits_for_the_next_turn(run: Run) -> None:
    run.answer(3)
    run.answer(3)
    run.collector.collect()
    assert run.handed == [[3]]
    run.collector.collect()
    assert run.handed == [[3], [3 + INSTANCES]]


def test_a_dead_instance_is_read_to_the_end_before_others_get_the_rest(run: Run) -> None:
    run.answer(5)
    run.answer(5)
    run.control.instance(5).state = InstanceState.DEAD
    run.collector.watch()
    assert run.handed == [[5], [5 + INSTANCES]]
    assert run.dispatcher.redispatched == 0
    assert run.control.instance(5).state is InstanceState.ABSENT


class Large:
    """One instance that holds a batch of four samples, whose answers are in parts."""

    SIZE = LARGE // 2

    def __init__(self, rings: Rings, control: ControlBlock) -> None:
        self.rings, self.control = rings, control
        self.dispatcher = Dispatcher(
            [rings.request_producer(0), rings.request_producer(1)],
            make_policy("local_batch_first", 2, 1),
            ThroughputRule(4, 1),
        )
        self.collector = Collector(
            rings, control, self.dispatcher, Timeline(timed=False), lambda positions: positions
        )
        self.dispatcher.submit([10, 11, 12, 13], [0, 1, 2, 3])

    def take(self, instance: int) -> list[int]:
        request = self.rings.request_consumer(instance).receive(1.0)
        assert request is not None
        return request.ids

    def send(self, instance: int, ids: list[int], rest: int) -> None:
        payload = b"".join(bytes([i]) * self.SIZE for i in ids)
        producer = self.rings.response_producer(instance)
        assert producer.send(ids, payload, self.SIZE, 1000, 0.0, rest)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Large, list[list[bytes]]]]:
    handed: list[list[bytes]] = []

    def complete(responses: list[lg.QuerySampleResponse]) -> None:
        handed.append(
            [ctypes.string_at(r.data, r.size)[-1:] * (r.size // Large.SIZE) for r in responses]
        )

    monkeypatch.setattr(lg, "QuerySamplesComplete", complete)
    run_id = f"t{secrets.token_hex(6)}"
    with (
        Rings.create(run_id, RingGeometry(2, 2, 4, Large.SIZE)) as rings,
        ControlBlock.create(run_id, 2) as control,
    ):
        try:
            yield Large(rings, control), handed
        finally:
            rings.unlink()
            control.unlink()


def test_loadgen_is_handed_an_answer_when_all_parts_are_there(
    large: tuple[Large, list[list[bytes]]],
) -> None:
    run, handed = large
    assert run.take(0) == [10, 11, 12, 13]
    assert run.rings.held(0) == 1
    run.send(0, [10, 11], rest=2)
    run.collector.collect()
    assert handed == []
    assert run.dispatcher.answered == 0
    assert run.rings.held(0) == 1
    assert run.rings.occupancy(0).responses == 0
    run.send(0, [12, 13], rest=0)
    run.collector.collect()
    assert handed == [[bytes([i]) for i in (10, 11, 12, 13)]]
    assert run.dispatcher.answered == 4
    assert run.rings.held(0) == 0


def test_parts_of_one_that_died_are_forgotten(large: tuple[Large, list[list[bytes]]]) -> None:
    run, handed = large
    run.take(0)
    run.send(0, [10, 11], rest=2)
    run.collector.collect()
    run.send(0, [12], rest=1)
    run.control.instance(0).state = InstanceState.DEAD
    run.collector.watch()
    assert handed == []
    assert run.dispatcher.redispatched == 4
    assert run.take(1) == [10, 11, 12, 13]
    run.send(1, [10, 11], rest=2)
    run.collector.collect()
    run.send(1, [12, 13], rest=0)
    run.collector.collect()
    assert handed == [[bytes([i]) for i in (10, 11, 12, 13)]]


def test_an_answer_to_nothing_that_was_asked_never_reaches_loadgen(run: Run) -> None:
    run.rings.response_producer(2).send([77], bytes(4), 4, 1000)
    with pytest.raises(RuntimeError, match="instance 2 answered"):
        run.collector.collect()
    assert run.handed == []
