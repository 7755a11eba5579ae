"""Two real processes at the ends of one instance's rings."""

from __future__ import annotations

import os
import random
import signal
from collections import deque
from collections.abc import Iterator

import pytest
from shm_peer import STOP, answer
from shm_run import peer, scratch_run, until

from shm.doorbell import PARK_LIMIT_S
from shm.ring import Occupancy, Request, Response, RingGeometry, Rings
from shm.wait import WaitStrategy

MESSAGES = 70_000
BATCH_SIZE = 6


@pytest.fixture
def run_id() -> Iterator[str]:
    with scratch_run() as run_id:
        yield run_id


def next_response(rings: Rings) -> Response:
    until(lambda: rings.wait_responses(0.25))
    response = rings.response_consumer(0).peek()
    assert response is not None
    return response


def check(response: Response, sent: Request) -> None:
    payload, lengths = answer(sent)
    assert response.ids == sent.ids
    assert response.lengths == lengths
    assert bytes(response.payload) == payload
    assert response.service_ns == sum(sent.positions)


@pytest.mark.parametrize(
    ("slots", "first_position", "spin_s"),
    [(1, 0, 100e-6), (3, 2**32 - MESSAGES // 2, 0.0), (4, 2**63 - MESSAGES // 2, 20e-6)],
)
def test_all_messages_arrive_once_in_order_and_unchanged(
    run_id: str, slots: int, first_position: int, spin_s: float
) -> None:
    randoms = random.Random(slots)
    geometry = RingGeometry(1, slots, BATCH_SIZE, 20)
    strategy = WaitStrategy(spin_s)
    with (
        Rings.create(
            run_id, geometry, wait_strategy=strategy, first_position=first_position
        ) as rings,
        peer("echo", run_id, slots, spin_s) as echo,
    ):
        producer, consumer = rings.request_producer(0), rings.response_consumer(0)
        unanswered: deque[Request] = deque()
        batches = [
            [randoms.randrange(1, 2 ** randoms.choice((4, 64))) for _ in range(size)]
            for size in (randoms.randint(1, BATCH_SIZE) for _ in range(997))
        ]
        sent = answered = 0
        refused = 0
        while answered < MESSAGES:
            # Alternately to the brim, and one by one, so that both edges are met all the time.
            limit = randoms.choice((1, slots, slots + 2))
            while sent < MESSAGES and len(unanswered) < limit:
                ids = batches[sent % 997]
                request = Request(ids, [number >> 40 for number in ids])
                if not producer.try_send(*request):
                    refused += 1
                    break
                unanswered.append(request)
                sent += 1
            check(next_response(rings), unanswered[0])
            while (response := consumer.peek()) is not None:
                check(response, unanswered.popleft())
                response.release()
                answered += 1
        assert refused > 0
        assert not unanswered
        assert rings.occupancy(0) == Occupancy(0, 0)
        assert producer.try_send([STOP], [0])
        assert echo.wait(timeout=30) == 0


def test_a_worker_killed_between_write_and_publish_has_sent_nothing(run_id: str) -> None:
    with Rings.create(run_id, RingGeometry(1, 2, BATCH_SIZE, 20)) as rings:
        producer = rings.request_producer(0)
        assert producer.try_send([1, 2], [3, 4])
        with peer("die_before_publish", run_id) as victim:
            assert victim.wait(timeout=30) == -signal.SIGKILL
        assert producer.try_send([3], [5])
        assert rings.ready() == []
        rings.reset(0)
        with peer("echo", run_id, 0, 0.0):
            for request in (Request([1, 2], [3, 4]), Request([3], [5])):
                assert producer.try_send(*request)
                response = next_response(rings)
                check(response, request)
                response.release()


def test_a_worker_killed_between_publish_and_wake_is_still_heard(run_id: str) -> None:
    park = WaitStrategy(0.0)
    with Rings.create(run_id, RingGeometry(1, 2, BATCH_SIZE, 20), wait_strategy=park) as rings:
        assert rings.request_producer(0).try_send([1], [3])
        with peer("die_before_wake", run_id) as victim:
            response = next_response(rings)
            assert bytes(response.payload) == b"3"
            response.release()
            assert victim.wait(timeout=30) == -signal.SIGKILL
    assert PARK_LIMIT_S <= 0.25


def test_workers_killed_at_any_moment_lose_nothing_that_is_sent_again(run_id: str) -> None:
    randoms = random.Random(5)
    pending = deque(range(1, 40_000))
    answered: list[int] = []
    generations = 0
    with Rings.create(run_id, RingGeometry(1, 3, BATCH_SIZE, 20)) as rings:
        producer, consumer = rings.request_producer(0), rings.response_consumer(0)
        while pending:
            generations += 1
            in_flight: deque[list[int]] = deque()
            until_kill = randoms.randint(1, 3000) if generations <= 5 else len(pending)
            with peer("echo", run_id, generations, 50e-6) as worker:
                while until_kill > 0 and (pending or in_flight):
                    while pending:
                        ids = [pending[index] for index in range(min(BATCH_SIZE, len(pending)))]
                        if not producer.try_send(ids, ids):
                            break
                        in_flight.append(ids)
                        for _ in ids:
                            pending.popleft()
                    until(lambda: rings.wait_responses(0.25))
                    until_kill -= take(consumer.peek(), in_flight, answered)
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait(timeout=30)
            while (response := consumer.peek()) is not None:
                take(response, in_flight, answered)
            rings.reset(0)
            while in_flight:
                pending.extendleft(reversed(in_flight.pop()))
    assert generations > 5
    assert answered == list(range(1, 40_000))


def take(response: Response | None, in_flight: deque[list[int]], answered: list[int]) -> int:
    assert response is not None
    ids = in_flight.popleft()
    check(response, Request(ids, ids))
    answered.extend(ids)
    response.release()
    return len(ids)
