from __future__ import annotations

import ctypes
import itertools
import secrets
import struct
import time
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from shm_run import SHM, files_of, scratch_run

from shm.ring import Occupancy, RingGeometry, Rings
from shm.segment import SegmentMissing, ShmError, segment_name
from shm.wait import PARK

GEOMETRY = RingGeometry(instances=3, slots=2, batch_size=4, response_bytes=8)
U64_MAX = 2**64 - 1


@pytest.fixture
def run_id() -> Iterator[str]:
    with scratch_run() as run_id:
        yield run_id


@pytest.fixture
def rings(run_id: str) -> Iterator[Rings]:
    with Rings.create(run_id, GEOMETRY) as rings:
        yield rings


def test_attach_reads_the_geometry(run_id: str) -> None:
    with pytest.raises(SegmentMissing):
        Rings.attach(run_id)
    with Rings.create(run_id, GEOMETRY), Rings.attach(run_id) as other:
        assert other.geometry == GEOMETRY
        assert other.request_consumer(1) is other.request_consumer(1)


@pytest.mark.parametrize("field", ["instances", "slots", "batch_size", "response_bytes"])
def test_a_geometry_has_no_empty_extent(field: str) -> None:
    sizes = {"instances": 1, "slots": 1, "batch_size": 1, "response_bytes": 1, field: 0}
    with pytest.raises(ValueError, match=f"{field} 0"):
        RingGeometry(**sizes)


@pytest.mark.parametrize(
    "geometry",
    [
        GEOMETRY,
        RingGeometry(1, 1, 1, 1),
        RingGeometry(224, 4, 11, 4),
        RingGeometry(2, 3, 1000, 1501),
    ],
)
def test_no_two_regions_overlap_and_writers_share_no_cache_line(geometry: RingGeometry) -> None:
    regions = [(0, 128), (128, 136)]
    for instance in range(geometry.instances):
        for column in range(5):
            offset = geometry.position_offset(column, instance)
            regions.append((offset, offset + 8))
        for slot in range(geometry.slots):
            request = geometry.request_slot_offset(instance, slot)
            regions.append((request, request + 8 * (1 + 2 * geometry.batch_size)))
            response = geometry.response_slot_offset(instance, slot)
            head = response + 8 * (4 + 2 * geometry.batch_size)
            payload = response + geometry.payload_offset
            assert head <= payload
            regions.append((response, payload + geometry.payload_capacity))
    regions.sort()
    assert all(start % 128 == 0 for start, _ in regions)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(regions))
    assert regions[-1][1] <= geometry.size


def test_every_file_is_private_and_removed(run_id: str) -> None:
    with Rings.create(run_id, GEOMETRY) as rings:
        names = files_of(run_id)
        parts = ("wake0", "wake1", "wake2", "done")
        assert names == sorted(
            [f"loadrun.{run_id}.rings", *(f"sem.loadrun.{run_id}.{part}" for part in parts)]
        )
        assert all((SHM / name).stat().st_mode & 0o777 == 0o600 for name in names)
        rings.unlink()
        assert files_of(run_id) == []


def test_a_failed_creation_leaves_nothing(run_id: str) -> None:
    with Rings.create(run_id, GEOMETRY) as rings:
        (SHM / f"loadrun.{run_id}.rings").rename(SHM / f"loadrun.{run_id}.aside")
        with pytest.raises(ShmError, match=r"\.(done|wake0): exists already"):
            Rings.create(run_id, GEOMETRY)
        (SHM / f"loadrun.{run_id}.aside").rename(SHM / f"loadrun.{run_id}.rings")
        assert f"loadrun.{run_id}.rings" in files_of(run_id)
        rings.unlink()


def test_a_damaged_segment_is_refused(run_id: str) -> None:
    with Rings.create(run_id, GEOMETRY):
        path = SHM / segment_name(run_id, "rings")[1:]
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size + 4096)
        with pytest.raises(ShmError, match="bytes, RingGeometry"):
            Rings.attach(run_id)


def test_a_request_arrives_as_it_was_sent(rings: Rings) -> None:
    producer, consumer = rings.request_producer(1), rings.request_consumer(1)
    ids = [0, 1, U64_MAX, 2**63]
    assert producer.try_send(ids, [9, 8, 7, U64_MAX])
    assert producer.try_send((5,), range(1))
    assert consumer.receive(0) == (ids, [9, 8, 7, U64_MAX])
    assert consumer.receive(0) == ([5], [0])
    assert consumer.receive(0) is None
    assert rings.request_consumer(0).receive(0) is None


def test_a_full_ring_refuses_and_keeps_what_it_has(rings: Rings) -> None:
    producer, consumer = rings.request_producer(0), rings.request_consumer(0)
    assert producer.free() == 2
    assert producer.try_send([1], [1])
    assert producer.try_send([2], [2])
    assert producer.free() == 0
    assert not producer.try_send([3], [3])
    assert consumer.receive(0) == ([1], [1])
    assert producer.free() == 1
    assert producer.try_send([4], [4])
    assert not producer.try_send([5], [5])
    assert [consumer.receive(0), consumer.receive(0), consumer.receive(0)] == [
        ([2], [2]),
        ([4], [4]),
        None,
    ]


@pytest.mark.parametrize(("ids", "positions"), [([], []), ([1] * 5, [1] * 5), ([1, 2], [1])])
def test_bad_batches_are_refused(rings: Rings, ids: list[int], positions: list[int]) -> None:
    with pytest.raises(ValueError, match="expected equally many, 1 to 4"):
        rings.request_producer(0).try_send(ids, positions)
    assert rings.request_consumer(0).receive(0) is None


def test_numbers_that_are_not_u64_send_nothing(rings: Rings) -> None:
    for value in (-1, 2**64):
        with pytest.raises(struct.error):
            rings.request_producer(0).try_send([value], [0])
    assert rings.occupancy(0) == Occupancy(0, 0)


def test_a_response_carries_lengths_payload_and_service_time(rings: Rings) -> None:
    producer, consumer = rings.response_producer(2), rings.response_consumer(2)
    assert consumer.peek() is None
    assert producer.send([7, U64_MAX, 9], b"abbbbcc", [1, 4, 2], 123456789)
    response = consumer.peek()
    assert response is not None
    assert response.ids == [7, U64_MAX, 9]
    assert response.lengths == [1, 4, 2]
    assert bytes(response.payload) == b"abbbbcc"
    assert ctypes.string_at(response.address, 7) == b"abbbbcc"
    assert response.service_ns == 123456789
    response.release()
    assert consumer.peek() is None


@pytest.mark.parametrize(
    ("payload", "length"),
    [
        (np.arange(3, dtype=np.int32), 4),
        (np.arange(6, dtype=np.uint8).reshape(3, 2), 2),
        (np.arange(3, dtype=np.float64)[:3], 8),
        (np.zeros((3, 0), np.int32), 0),
        (bytearray(b"abc"), 1),
        (memoryview(b"abcdef"), 2),
    ],
)
def test_payloads_of_one_length(
    rings: Rings, payload: np.ndarray | bytearray | memoryview, length: int
) -> None:
    assert rings.response_producer(0).send([1, 2, 3], payload, length, 0)
    response = rings.response_consumer(0).peek()
    assert response is not None
    assert response.lengths == [length] * 3
    assert bytes(response.payload) == bytes(payload)


def test_addresses_follow_the_slots(rings: Rings) -> None:
    producer, consumer = rings.response_producer(0), rings.response_consumer(0)
    for turn in range(5):
        producer.send([turn], str(turn).encode(), 1, 0)
        response = consumer.peek()
        assert response is not None
        assert ctypes.string_at(response.address, 1) == str(turn).encode()
        response.release()


def test_peek_stays_until_release_and_release_counts_once(rings: Rings) -> None:
    producer, consumer = rings.response_producer(0), rings.response_consumer(0)
    producer.send([1], b"a", 1, 0)
    producer.send([2], b"b", 1, 0)
    first, again = consumer.peek(), consumer.peek()
    assert first is not None
    assert again is not None
    assert first.ids == again.ids == [1]
    first.release()
    again.release()
    second = consumer.peek()
    assert second is not None
    assert second.ids == [2]
    first.release()
    assert rings.occupancy(0).responses == 1
    second.release()
    first.release()
    assert rings.occupancy(0).responses == 0


def test_a_full_response_ring_waits_no_longer_than_told(rings: Rings) -> None:
    producer, consumer = rings.response_producer(0), rings.response_consumer(0)
    assert producer.send([1], b"a", 1, 0)
    assert producer.send([2], b"b", 1, 0)
    assert not producer.send([3], b"c", 1, 0, timeout_s=0.002)
    response = consumer.peek()
    assert response is not None
    assert bytes(response.payload) == b"a"
    response.release()
    assert producer.send([3], b"c", 1, 0, timeout_s=0.002)


@pytest.mark.parametrize(
    ("ids", "payload", "lengths"),
    [
        ([], b"", 1),
        ([1] * 5, b"abcde", 1),
        ([1, 2], b"abc", 1),
        ([1, 2], b"abc", [1, 1]),
        ([1, 2], b"ab", [2]),
        ([1], b"x" * 33, 33),
    ],
)
def test_bad_responses_are_refused(
    rings: Rings, ids: list[int], payload: bytes, lengths: int | list[int]
) -> None:
    with pytest.raises(ValueError, match=r"a response of|lengths for"):
        rings.response_producer(0).send(ids, payload, lengths, 0)
    assert rings.response_consumer(0).peek() is None


def test_an_array_that_is_not_contiguous_sends_nothing(rings: Rings) -> None:
    with pytest.raises(TypeError, match="C-contiguous"):
        rings.response_producer(0).send([1, 2], np.arange(4, dtype=np.int32)[::2], 4, 0)
    assert rings.ready() == []


def test_one_sample_may_use_the_space_of_the_whole_batch(rings: Rings) -> None:
    assert rings.response_producer(0).send([1, 2], b"x" * 32, [31, 1], 0)


def test_ready_names_the_instances_with_responses(rings: Rings) -> None:
    assert rings.ready() == []
    assert not rings.wait_responses(0)
    for instance in (2, 0):
        rings.response_producer(instance).send([1], b"a", 1, 0)
    assert rings.ready() == [0, 2]
    assert rings.wait_responses(0)
    response = rings.response_consumer(0).peek()
    assert response is not None
    assert rings.ready() == [0, 2]
    response.release()
    assert rings.ready() == [2]


def test_waits_end_in_time(run_id: str) -> None:
    with Rings.create(run_id, GEOMETRY, wait_strategy=PARK) as rings:
        start = time.monotonic()
        assert rings.request_consumer(0).receive(0.02) is None
        assert not rings.wait_responses(0.02)
        assert time.monotonic() - start >= 0.04


def test_instances_out_of_range(rings: Rings) -> None:
    for call in (
        rings.request_producer,
        rings.request_consumer,
        rings.response_producer,
        rings.response_consumer,
        rings.occupancy,
        rings.held,
        rings.reset,
    ):
        for instance in (-1, 3):
            with pytest.raises(IndexError, match=f"instance {instance}"):
                call(instance)


def test_what_an_instance_holds_is_counted_until_its_answer_is_taken(rings: Rings) -> None:
    requests, responses = rings.request_consumer(0), rings.response_producer(0)
    for number in (1, 2):
        assert rings.request_producer(0).try_send([number], [0])
    assert [rings.held(i) for i in range(3)] == [2, 0, 0]
    assert requests.receive(0) is not None
    assert responses.send([1], b"a", 1, 0)
    assert rings.held(0) == 2
    answer = rings.response_consumer(0).peek()
    assert answer is not None
    answer.release()
    assert rings.held(0) == 1
    # What died with an instance stays counted: readers take it off (launch.screen.live.meter).
    rings.reset(0)
    assert rings.held(0) == 1


def test_reset_empties_both_rings_and_no_other(rings: Rings) -> None:
    for instance in (0, 1):
        assert rings.request_producer(instance).try_send([1], [1])
        assert rings.request_producer(instance).try_send([2], [2])
        assert rings.response_producer(instance).send([3], b"c", 1, 0)
    stale = rings.response_consumer(0).peek()
    assert stale is not None
    rings.reset(0)
    assert rings.occupancy(0) == Occupancy(0, 0)
    assert rings.occupancy(1) == Occupancy(2, 1)
    assert rings.ready() == [1]
    with Rings.attach(rings._run_id) as successor:
        consumer, producer = successor.request_consumer(0), successor.response_producer(0)
        assert consumer.receive(0) is None
        assert producer.send([4], b"d", 1, 0)
        stale.release()
        answer = rings.response_consumer(0).peek()
        assert answer is not None
        assert answer.ids == [4]
        assert rings.request_producer(0).free() == 2
        assert rings.request_producer(0).try_send([5], [5])
        assert consumer.receive(0) == ([5], [5])


def test_reset_clears_flag_and_tokens_of_a_parked_instance(rings: Rings) -> None:
    doorbell = rings.request_consumer(0)._doorbell
    doorbell._words[doorbell._flag_at] = 1
    rings.request_producer(0).try_send([1], [1])
    doorbell._semaphore.release()
    assert doorbell._semaphore.value == 2
    rings.reset(0)
    assert doorbell._semaphore.value == 0
    rings.request_producer(0).try_send([1], [1])
    assert doorbell._semaphore.value == 0


def test_no_wake_up_is_paid_for_a_waiter_that_is_awake(rings: Rings) -> None:
    doorbell = rings.request_consumer(0)._doorbell
    rings.request_producer(0).try_send([1], [1])
    assert doorbell._semaphore.value == 0
    doorbell._words[doorbell._flag_at] = 1
    rings.request_producer(0).try_send([2], [2])
    assert doorbell._semaphore.value == 1


def test_close_is_robust_against_views_that_are_held(run_id: str) -> None:
    rings = Rings.create(run_id, GEOMETRY)
    rings.response_producer(0).send([1], b"abc", 3, 0)
    response = rings.response_consumer(0).peek()
    assert response is not None
    array = np.frombuffer(response.payload, np.uint8)
    producer = rings.request_producer(0)
    rings.close()
    rings.close()
    rings.unlink()
    assert bytes(array) == b"abc"
    with pytest.raises(ValueError, match="released"):
        producer.try_send([1], [1])


BATCHES = st.lists(
    st.tuples(st.integers(0, U64_MAX), st.integers(0, U64_MAX), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)
STARTS = st.one_of(
    st.integers(0, 3), st.integers(2**32 - 4, 2**32 + 1), st.integers(2**63 - 4, 2**63 + 1)
)


class RingMachine(RuleBasedStateMachine):
    """One instance's rings beside two queues, which say what must happen."""

    @initialize(slots=st.integers(1, 5), start=STARTS)
    def create(self, slots: int, start: int) -> None:
        self.run_id = "prop" + secrets.token_hex(6)
        self.slots = slots
        geometry = RingGeometry(2, slots, 4, 8)
        self.rings = Rings.create(self.run_id, geometry, first_position=start)
        self.worker = Rings.attach(self.run_id)
        self.requests: deque[tuple[list[int], list[int]]] = deque()
        self.responses: deque[tuple[list[int], bytes, list[int], int]] = deque()

    @rule(batch=BATCHES)
    def send(self, batch: list[tuple[int, int, bytes]]) -> None:
        ids, positions = [item[0] for item in batch], [item[1] for item in batch]
        sent = self.rings.request_producer(1).try_send(ids, positions)
        assert sent == (len(self.requests) < self.slots)
        if sent:
            self.requests.append((ids, positions))

    @rule()
    def receive(self) -> None:
        expected = self.requests.popleft() if self.requests else None
        assert self.worker.request_consumer(1).receive(0) == expected

    @rule(batch=BATCHES, service_ns=st.integers(0, 2**63))
    def answer(self, batch: list[tuple[int, int, bytes]], service_ns: int) -> None:
        ids, lengths = [item[0] for item in batch], [len(item[2]) for item in batch]
        payload = b"".join(item[2] for item in batch)
        sent = self.worker.response_producer(1).send(ids, payload, lengths, service_ns, timeout_s=0)
        assert sent == (len(self.responses) < self.slots)
        if sent:
            self.responses.append((ids, payload, lengths, service_ns))

    @rule(release=st.booleans())
    def read(self, release: bool) -> None:
        response = self.rings.response_consumer(1).peek()
        if not self.responses:
            assert response is None
            return
        assert response is not None
        found = (response.ids, bytes(response.payload), response.lengths, response.service_ns)
        assert found == self.responses[0]
        if release:
            response.release()
            self.responses.popleft()

    @rule()
    def restart_worker(self) -> None:
        self.worker.close()
        self.worker = Rings.attach(self.run_id)

    @rule()
    def kill_worker(self) -> None:
        self.worker.close()
        self.rings.reset(1)
        self.worker = Rings.attach(self.run_id)
        self.requests.clear()
        self.responses.clear()

    @invariant()
    def counts_agree(self) -> None:
        assert self.rings.occupancy(1) == (len(self.requests), len(self.responses))
        assert self.rings.occupancy(0) == (0, 0)
        assert self.rings.request_producer(1).free() == self.slots - len(self.requests)
        assert self.rings.ready() == ([1] if self.responses else [])
        assert self.rings.wait_responses(0) == bool(self.responses)

    def teardown(self) -> None:
        if hasattr(self, "rings"):
            self.worker.close()
            self.rings.close()
            self.rings.unlink()
            assert files_of(self.run_id) == []


RingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
test_ring_against_queues = RingMachine.TestCase
