"""Request and response rings of all instances: one segment, lock-free, one producer each.

Layout (N instances, B = batch_size, S = slots, R = response_bytes, T and P as below; all numbers
u64):

| offset                    | bytes  | field                                                   |
|---------------------------|-------:|---------------------------------------------------------|
| 0                         |      8 | magic `LRrings\\0`, written last                         |
| 8                         |      8 | version                                                 |
| 16, 24, 32, 40            | 4 x 8  | instances, slots, batch_size, response_bytes            |
| 128                       |      8 | doorbell flag: loadrun is parked                        |
| 256 + 128 i               |      8 | request published: batches sent to instance i           |
| 256 + 128 (N + i)         |      8 | request released: batches that instance i has taken     |
| 256 + 128 (2 N + i)       |      8 | request flag: instance i is parked                      |
| 256 + 128 (3 N + i)       |      8 | response published: batches that instance i answered    |
| 256 + 128 (4 N + i)       |      8 | response released: answers that loadrun has taken       |
| 256 + 128 (5 N + i)       |      8 | of these, whole batches, where answers come in parts    |
| slots, page-aligned       |        | per instance S request slots, then T response slots     |

| offset in a request slot  | bytes  | field                                                   |
|---------------------------|-------:|---------------------------------------------------------|
| 0                         |      8 | n, samples in the batch (1 to B)                        |
| 8                         |    8 n | response ids                                            |
| 8 + 8 n                   |    8 n | arena positions                                         |

| offset in a response slot | bytes  | field                                                   |
|---------------------------|-------:|---------------------------------------------------------|
| 0                         |      8 | n, samples in the batch (1 to B)                        |
| 8                         |      8 | m, lengths given: n, or 1 when all are equal            |
| 16                        |      8 | service time of the batch, nanoseconds                  |
| 24                        |      8 | bytes of payload                                        |
| 32                        |      8 | samples of the same batch that answers still follow to  |
| 40                        |    8 n | response ids                                            |
| 40 + 8 n                  |    8 m | lengths in bytes                                        |
| 40 + 16 B, up to 128      |      P | payload, the samples' answers one after the other       |

P is R B, what a batch answers, as far as that is at most 1 MiB (LARGE); else it is 1 MiB, or R
where a single answer is larger. A batch whose answers are more than P comes in parts of whole
samples, one slot each. T is S, and 1 where P is more than 1 MiB: who has computed for seconds can
wait a moment for the slot. So that an instance takes at most S MiB, or R, whatever the batch size:
3D volumes of 64 MB in batches of 8 would be 1.5 GB an instance otherwise, never used at a time.

Positions count what was sent since the ring was made: they only grow (2^64 is out of reach), the
ring is empty when both are equal and full when they are as far apart as it has slots, and what was
sent at position p lies in slot p mod S (T). Every
position is written by one side only and stands on 128 bytes of its own (two cache lines, which x86
fetches as a pair), so that writing one never invalidates another. Those of one kind lie in a
column: `Rings.ready` compares two columns, whatever the number of instances.

A producer fills the slot, publishes the position, then rings; a consumer copies out of the slot,
then releases it. A producer that is killed before it publishes has sent nothing: the slot is simply
filled again by its successor. Positions and words are aligned, so that they are never read torn;
`shm.fence` explains their order in memory, `shm.doorbell` the wake-up. Each side keeps a copy of
the other's position and looks again only when that copy says full or empty: a cache line crosses
between processors once per batch at most.
"""

from __future__ import annotations

import contextlib
import functools
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import posix_ipc

from shm.closing import Closing
from shm.doorbell import Doorbell, create_semaphore, open_semaphore, unlink_semaphores
from shm.fence import WEAK_ORDER, Fence
from shm.header import read_header, write_header
from shm.segment import Segment, ShmError, segment_name
from shm.wait import PARK, SPIN_THEN_PARK, WaitStrategy

PART = "rings"
DOORBELL_PART = "done"
WAKE_PART = "wake"
MAGIC = b"LRrings\0"
VERSION = 2
LARGE = 1 << 20
"""Bytes of a response slot's payload, unless a batch's answers are less, or a sample's are more."""

_WORD = 8
_LINE = 128
_PAGE = 4096
_DOORBELL_FLAG = _LINE
_COLUMNS = 2 * _LINE
_REQUEST_PUBLISHED, _REQUEST_RELEASED, _REQUEST_FLAG = 0, 1, 2
_RESPONSE_PUBLISHED, _RESPONSE_RELEASED, _BATCHES_RELEASED = 3, 4, 5
_POSITION_COLUMNS = (
    _REQUEST_PUBLISHED,
    _REQUEST_RELEASED,
    _RESPONSE_PUBLISHED,
    _RESPONSE_RELEASED,
)
"""Those of the two rings."""
_COLUMN_COUNT = 6
_REQUEST_HEAD, _RESPONSE_HEAD = 1, 5

_FULL_RING_POLL_S = 100e-6
_FEW = 6
"""Up to so many instances, comparing words one by one is quicker than a call of NumPy."""

Payload = bytes | bytearray | memoryview | npt.NDArray[Any]


@dataclass(frozen=True)
class RingGeometry:
    """Sizes of all rings of a run: `slots` per ring, `response_bytes` of payload per sample."""

    instances: int
    slots: int
    batch_size: int
    response_bytes: int

    def __post_init__(self) -> None:
        for name in ("instances", "slots", "batch_size", "response_bytes"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} {value}: expected at least 1")

    @property
    def payload_capacity(self) -> int:
        """Bytes of payload that fit a response slot."""
        return min(self.batch_size * self.response_bytes, max(self.response_bytes, LARGE))

    @property
    def in_parts(self) -> bool:
        """Whether there can be batches whose answers do not fit a slot."""
        return self.batch_size * self.response_bytes > self.payload_capacity

    @property
    def response_slots(self) -> int:
        """Response slots of a ring."""
        return self.slots if self.payload_capacity <= LARGE else 1

    @property
    def request_slot(self) -> int:
        """Bytes from one request slot to the next."""
        return _align(_WORD * (1 + 2 * self.batch_size), _LINE)

    @property
    def payload_offset(self) -> int:
        """Bytes from the start of a response slot to its payload."""
        return _align(_WORD * (_RESPONSE_HEAD + 2 * self.batch_size), _LINE)

    @property
    def response_slot(self) -> int:
        """Bytes from one response slot to the next."""
        return self.payload_offset + _align(self.payload_capacity, _LINE)

    @property
    def slots_offset(self) -> int:
        """Bytes from the start of the segment to the first instance's slots."""
        return _align(_COLUMNS + _COLUMN_COUNT * self.instances * _LINE, _PAGE)

    @property
    def instance_stride(self) -> int:
        """Bytes from one instance's slots to the next's: pages of their own."""
        responses = self.response_slots * self.response_slot
        return _align(self.slots * self.request_slot + responses, _PAGE)

    @property
    def size(self) -> int:
        """Bytes of the whole segment."""
        return self.slots_offset + self.instances * self.instance_stride

    def position_offset(self, column: int, instance: int) -> int:
        """Return the offset in bytes of an instance's position or flag in a column."""
        return _COLUMNS + (column * self.instances + instance) * _LINE

    def request_slot_offset(self, instance: int, slot: int) -> int:
        """Return the offset in bytes of a request slot."""
        return self.slots_offset + instance * self.instance_stride + slot * self.request_slot

    def response_slot_offset(self, instance: int, slot: int) -> int:
        """Return the offset in bytes of a response slot."""
        return self.request_slot_offset(instance, self.slots) + slot * self.response_slot


class Occupancy(NamedTuple):
    """Batches that lie unread in the two rings of an instance."""

    requests: int
    responses: int


class Request(NamedTuple):
    """One batch to answer: response ids and arena positions, equally many."""

    ids: list[int]
    positions: list[int]


class Response:
    """One answered batch, or a part of one, still in its slot.

    `address` is where the first byte of payload lies in this process; it and `payload` are valid
    until `release`. `lengths` are the bytes of each sample's answer, in the order of `ids`. Answers
    to `rest` samples of the same batch follow.
    """

    __slots__ = (
        "_consumer",
        "_sequence",
        "_size",
        "address",
        "ids",
        "lengths",
        "rest",
        "service_ns",
    )

    def __init__(
        self,
        consumer: ResponseConsumer,
        sequence: int,
        ids: list[int],
        lengths: list[int],
        address: int,
        size: int,
        service_ns: int,
        rest: int,
    ) -> None:
        self._consumer = consumer
        self._sequence = sequence
        self.ids = ids
        self.lengths = lengths
        self.address = address
        self._size = size
        self.service_ns = service_ns
        self.rest = rest

    @property
    def payload(self) -> memoryview:
        """The answers, one after the other, as bytes."""
        return self._consumer._payload(self._sequence)[: self._size]

    def release(self) -> None:
        """Give the slot back to the instance; idempotent."""
        self._consumer._release(self._sequence, self.rest)


@functools.cache
def _packers(words: int) -> list[Callable[..., None]]:
    """Return, by their number, what writes 0 to `words` u64 in one call."""
    return [struct.Struct(f"{count}Q").pack_into for count in range(words + 1)]


class _End:
    """What every end of a ring holds: the words of the segment, two positions and the slots."""

    def __init__(
        self,
        rings: Rings,
        instance: int,
        published: int,
        released: int,
        slot_offset: Callable[[int, int], int],
        slot_words: int,
        slots: int,
    ) -> None:
        geometry = rings.geometry
        self._words = words = rings._words
        self._slot_count = slots
        self._batch_size = geometry.batch_size
        self._published_at = geometry.position_offset(published, instance) // _WORD
        self._released_at = geometry.position_offset(released, instance) // _WORD
        self._full_fence = Fence().full
        starts = (slot_offset(instance, slot) // _WORD for slot in range(slots))
        self._slots = [words[start : start + slot_words] for start in starts]
        self._packers = _packers(slot_words)

    def _close(self) -> None:
        for view in self._slots:
            view.release()


class _RequestEnd(_End):
    def __init__(self, rings: Rings, instance: int) -> None:
        geometry = rings.geometry
        super().__init__(
            rings,
            instance,
            _REQUEST_PUBLISHED,
            _REQUEST_RELEASED,
            geometry.request_slot_offset,
            _REQUEST_HEAD + 2 * geometry.batch_size,
            geometry.slots,
        )
        self._doorbell = rings._request_doorbell(instance)


class _ResponseEnd(_End):
    def __init__(self, rings: Rings, instance: int) -> None:
        geometry = rings.geometry
        super().__init__(
            rings,
            instance,
            _RESPONSE_PUBLISHED,
            _RESPONSE_RELEASED,
            geometry.response_slot_offset,
            _RESPONSE_HEAD + 2 * geometry.batch_size,
            geometry.response_slots,
        )
        self._payload_offsets = [
            geometry.response_slot_offset(instance, slot) + geometry.payload_offset
            for slot in range(geometry.response_slots)
        ]
        buf, capacity = rings._segment.buf, geometry.payload_capacity
        self._payloads = [buf[start : start + capacity] for start in self._payload_offsets]

    def _close(self) -> None:
        super()._close()
        for view in self._payloads:
            view.release()


class RequestProducer(_RequestEnd):
    """loadrun's end of a request ring; one thread at a time."""

    def __init__(self, rings: Rings, instance: int) -> None:
        super().__init__(rings, instance)
        self._released_seen = self._words[self._released_at]

    def try_send(self, ids: Sequence[int], positions: Sequence[int]) -> bool:
        """Send one batch: response ids and arena positions (u64, equally many, 1 to batch_size).

        False when the ring is full: nothing was sent, try again after a response. ValueError for a
        batch that is empty, too large or uneven.
        """
        count = len(ids)
        if not 0 < count <= self._batch_size or len(positions) != count:
            raise ValueError(
                f"a batch of {count} ids and {len(positions)} positions: expected equally many, "
                f"1 to {self._batch_size}"
            )
        words = self._words
        sequence = words[self._published_at]
        if sequence - self._released_seen >= self._slot_count:
            self._released_seen = words[self._released_at]
            if sequence - self._released_seen >= self._slot_count:
                return False
            if WEAK_ORDER:
                self._full_fence()
        slot = self._slots[sequence % self._slot_count]
        self._packers[1 + 2 * count](slot, 0, count, *ids, *positions)
        if WEAK_ORDER:
            self._full_fence()
        words[self._published_at] = sequence + 1
        self._doorbell.ring()
        return True

    def free(self) -> int:
        """Return how many batches `try_send` would take at once."""
        words = self._words
        return self._slot_count - (words[self._published_at] - words[self._released_at])


class RequestConsumer(_RequestEnd):
    """The instance's end of a request ring."""

    def __init__(self, rings: Rings, instance: int) -> None:
        super().__init__(rings, instance)
        self._wait = rings.wait_strategy.wait
        self._idle = False
        self._published_seen = self._words[self._released_at]

    def receive(self, timeout_s: float) -> Request | None:
        """Take the next batch, copied out of its slot; None when none came within `timeout_s`.

        Who has waited in vain parks at once the next time: an idle instance takes no processor.
        Nothing wakes a receiver at the end of a run: use timeouts of at most 0.25 s and look at the
        control block in between.
        """
        words = self._words
        sequence = words[self._released_at]
        if sequence >= self._published_seen and not self._unread():
            wait = PARK.wait if self._idle else self._wait
            self._idle = not wait(self._unread, self._doorbell, timeout_s)
            if self._idle:
                return None
        if WEAK_ORDER:
            self._full_fence()
        slot = self._slots[sequence % self._slot_count]
        count = slot[0]
        if count == 1:
            request = Request([slot[1]], [slot[2]])
        else:
            values = slot[1 : 1 + 2 * count].tolist()
            request = Request(values[:count], values[count:])
        if WEAK_ORDER:
            self._full_fence()
        words[self._released_at] = sequence + 1
        return request

    def _unread(self) -> bool:
        words = self._words
        self._published_seen = published = words[self._published_at]
        return published > words[self._released_at]


class ResponseProducer(_ResponseEnd):
    """The instance's end of a response ring."""

    def __init__(self, rings: Rings, instance: int) -> None:
        super().__init__(rings, instance)
        self._doorbell = rings._response_doorbell()
        self.capacity = rings.geometry.payload_capacity
        self._released_seen = self._words[self._released_at]

    def send(
        self,
        ids: Sequence[int],
        payload: Payload,
        lengths: Sequence[int] | int,
        service_ns: int,
        timeout_s: float | None = None,
        rest: int = 0,
    ) -> bool:
        """Send the answer to one batch; False when the ring stayed full for `timeout_s`.

        `payload` is bytes or a C-contiguous array: the answers one after the other, `lengths` bytes
        each (an int: all alike), `capacity` together at most. `service_ns` is the time the engine
        took for the batch. Where the answers are more, they are sent in parts: answers to `rest`
        samples of the batch follow. ValueError for a batch that is empty, too large or does not
        agree with its lengths.
        """
        count = len(ids)
        if isinstance(lengths, int):
            lengths = (lengths,)
            total = count * lengths[0]
        else:
            total = sum(lengths)
            if len(lengths) != count:
                raise ValueError(f"{len(lengths)} lengths for {count} ids")
        content: bytes | memoryview
        if type(payload) is bytes:
            content = payload
        else:
            # Of arrays and views, what counts is their bytes.
            view = payload.data if isinstance(payload, np.ndarray) else memoryview(payload)
            content = view.cast("B") if view.nbytes else b""
        size = len(content)
        if not 0 < count <= self._batch_size or size != total or total > self.capacity:
            raise ValueError(
                f"a response of {count} ids, {size} bytes of payload and lengths that add up to "
                f"{total}: expected 1 to {self._batch_size} ids, and equally many bytes, at most "
                f"{self.capacity}"
            )
        words = self._words
        sequence = words[self._published_at]
        if sequence - self._released_seen >= self._slot_count:
            if not self._wait_for_slot(timeout_s):
                return False
            if WEAK_ORDER:
                self._full_fence()
        index = sequence % self._slot_count
        pack = self._packers[_RESPONSE_HEAD + count + len(lengths)]
        pack(self._slots[index], 0, count, len(lengths), service_ns, total, rest, *ids, *lengths)
        if total:
            self._payloads[index][:total] = content
        if WEAK_ORDER:
            self._full_fence()
        words[self._published_at] = sequence + 1
        self._doorbell.ring()
        return True

    def _wait_for_slot(self, timeout_s: float | None) -> bool:
        # Polled: a ring with a slot for every batch in flight is never full, and where it is (large
        # answers have one slot), what lies in it is what loadrun has to attend to, not another
        # wake-up.
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            words = self._words
            self._released_seen = words[self._released_at]
            if words[self._published_at] - self._released_seen < self._slot_count:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_FULL_RING_POLL_S)


class ResponseConsumer(_ResponseEnd):
    """loadrun's end of a response ring; one thread at a time."""

    def __init__(self, rings: Rings, instance: int) -> None:
        super().__init__(rings, instance)
        start = np.frombuffer(rings._segment.buf, np.uint8).ctypes.data
        self._addresses = [start + offset for offset in self._payload_offsets]
        offset = rings.geometry.position_offset(_BATCHES_RELEASED, instance)
        self._batches_at = offset // _WORD if rings.geometry.in_parts else None
        self._published_seen = self._words[self._released_at]

    def peek(self) -> Response | None:
        """Return the oldest answer, left in its slot until it is released; None when there is none.

        Until then the same answer is returned again.
        """
        words = self._words
        sequence = words[self._released_at]
        if sequence >= self._published_seen:
            self._published_seen = published = words[self._published_at]
            if sequence >= published:
                return None
        if WEAK_ORDER:
            self._full_fence()
        index = sequence % self._slot_count
        slot = self._slots[index]
        count = slot[0]
        if count == 1:
            service_ns, size, rest = slot[2], slot[3], slot[4]
            ids, lengths = [slot[5]], [slot[6]]
        else:
            given = slot[1]
            values = slot[2 : _RESPONSE_HEAD + count + given].tolist()
            service_ns, size, rest = values[0], values[1], values[2]
            ids, lengths = values[3 : 3 + count], values[3 + count :]
            if given != count:
                lengths *= count
        address = self._addresses[index]
        return Response(self, sequence, ids, lengths, address, size, service_ns, rest)

    def _payload(self, sequence: int) -> memoryview:
        return self._payloads[sequence % self._slot_count]

    def _release(self, sequence: int, rest: int) -> None:
        if self._words[self._released_at] == sequence:
            if WEAK_ORDER:
                self._full_fence()
            if self._batches_at is not None and not rest:
                self._words[self._batches_at] += 1
            self._words[self._released_at] = sequence + 1


class Rings(Closing):
    """The rings of a run: `create` in loadrun, `attach` in the instances.

    There is one object per end and process: asking for an end again returns the same.
    """

    def __init__(
        self,
        run_id: str,
        segment: Segment,
        geometry: RingGeometry,
        wait_strategy: WaitStrategy,
        creator: bool,
    ) -> None:
        self.geometry = geometry
        self.wait_strategy = wait_strategy
        self._run_id = run_id
        self._segment = segment
        self._creator = creator
        self._words = segment.buf.cast("Q")
        self._semaphores: dict[str, posix_ipc.Semaphore] = {}
        self._request_producers: dict[int, RequestProducer] = {}
        self._request_consumers: dict[int, RequestConsumer] = {}
        self._response_producers: dict[int, ResponseProducer] = {}
        self._response_consumers: dict[int, ResponseConsumer] = {}
        self._doorbell = self._response_doorbell()
        self._response_published = self._column(_RESPONSE_PUBLISHED)
        self._response_released = self._column(_RESPONSE_RELEASED)
        self._few = self._response_words() if geometry.instances <= _FEW else ()
        self._unread_flags = bytearray(geometry.instances)
        self._unread = np.frombuffer(self._unread_flags, np.bool_)

    @classmethod
    def create(
        cls,
        run_id: str,
        geometry: RingGeometry,
        *,
        wait_strategy: WaitStrategy = SPIN_THEN_PARK,
        first_position: int = 0,
    ) -> Rings:
        """Create all rings, empty, with their semaphores; nothing is left behind on failure.

        `first_position` is where the positions start to count.
        """
        segment = Segment.create(segment_name(run_id, PART), geometry.size)
        try:
            with segment.buf.cast("Q") as words:
                for column in (*_POSITION_COLUMNS, _BATCHES_RELEASED):
                    for instance in range(geometry.instances):
                        offset = geometry.position_offset(column, instance)
                        words[offset // _WORD] = first_position
            for name in _semaphore_names(run_id, geometry.instances):
                create_semaphore(name)
            fields = (
                geometry.instances,
                geometry.slots,
                geometry.batch_size,
                geometry.response_bytes,
            )
            write_header(segment, MAGIC, VERSION, fields)
            return cls(run_id, segment, geometry, wait_strategy, creator=True)
        except BaseException:
            unlink_semaphores(_semaphore_names(run_id, geometry.instances))
            segment.close()
            segment.unlink()
            raise

    @classmethod
    def attach(cls, run_id: str, *, wait_strategy: WaitStrategy = SPIN_THEN_PARK) -> Rings:
        """Attach; SegmentMissing until they are there and complete, ShmError for another layout."""
        segment = Segment.attach(segment_name(run_id, PART))
        try:
            fields = read_header(segment, MAGIC, VERSION, 4)
            if min(fields) < 1:
                raise ShmError(f"{segment.name}: sizes {fields} are not those of rings")
            geometry = RingGeometry(*fields)
            if segment.size != geometry.size:
                raise ShmError(
                    f"{segment.name}: has {segment.size} bytes, {geometry} needs {geometry.size}"
                )
            return cls(run_id, segment, geometry, wait_strategy, creator=False)
        except BaseException:
            segment.close()
            raise

    def request_producer(self, instance: int) -> RequestProducer:
        """Return loadrun's end of the request ring of `instance`."""
        self._check(instance)
        end = self._request_producers.get(instance)
        if end is None:
            end = self._request_producers[instance] = RequestProducer(self, instance)
        return end

    def request_consumer(self, instance: int) -> RequestConsumer:
        """Return the instance's end of its request ring."""
        self._check(instance)
        end = self._request_consumers.get(instance)
        if end is None:
            end = self._request_consumers[instance] = RequestConsumer(self, instance)
        return end

    def response_producer(self, instance: int) -> ResponseProducer:
        """Return the instance's end of its response ring."""
        self._check(instance)
        end = self._response_producers.get(instance)
        if end is None:
            end = self._response_producers[instance] = ResponseProducer(self, instance)
        return end

    def response_consumer(self, instance: int) -> ResponseConsumer:
        """Return loadrun's end of the response ring of `instance`."""
        self._check(instance)
        end = self._response_consumers.get(instance)
        if end is None:
            end = self._response_consumers[instance] = ResponseConsumer(self, instance)
        return end

    def ready(self) -> list[int]:
        """Return the instances with unread responses, ascending: one comparison for all."""
        if self._few:
            words = self._words
            return [i for i, (sent, taken) in enumerate(self._few) if words[sent] != words[taken]]
        np.not_equal(self._response_published, self._response_released, out=self._unread)
        ready: list[int] = self._unread.nonzero()[0].tolist()
        return ready

    def wait_responses(self, timeout_s: float) -> bool:
        """Wait until some response is unread; False when none is after `timeout_s` seconds."""
        return self.wait_strategy.wait(self._any_unread, self._doorbell, timeout_s)

    def _any_unread(self) -> bool:
        if self._few:
            words = self._words
            # Not any(): a generator costs more than the comparisons.
            for sent, taken in self._few:  # noqa: SIM110
                if words[sent] != words[taken]:
                    return True
            return False
        np.not_equal(self._response_published, self._response_released, out=self._unread)
        return 1 in self._unread_flags

    def occupancy(self, instance: int) -> Occupancy:
        """Return how many batches lie unread in the rings of `instance`, for diagnostics."""
        self._check(instance)
        sent, taken, answered, read = (
            self._words[self.geometry.position_offset(column, instance) // _WORD]
            for column in _POSITION_COLUMNS
        )
        return Occupancy(sent - taken, answered - read)

    def held(self, instance: int) -> int:
        """Return how many batches were sent to `instance` and not taken back, for diagnostics.

        What was lost with one that died stays counted: its successor begins with that.
        """
        self._check(instance)
        offset = self.geometry.position_offset
        taken = _BATCHES_RELEASED if self.geometry.in_parts else _RESPONSE_RELEASED
        sent = self._words[offset(_REQUEST_PUBLISHED, instance) // _WORD]
        return sent - self._words[offset(taken, instance) // _WORD]

    def reset(self, instance: int) -> None:
        """Empty both rings of a dead instance, so that its successor starts afresh.

        To be called in loadrun, when the instance is gone, its responses have been read and no
        other thread sends to it. What lies unread is dropped: both released positions catch up with
        the published ones, and none ever goes back, so that the ends in this process stay valid. A
        slot that was being filled when the instance died has no position, and is filled again.
        """
        self._check(instance)
        words, offset = self._words, self.geometry.position_offset
        for published, released in (
            (_REQUEST_PUBLISHED, _REQUEST_RELEASED),
            (_RESPONSE_PUBLISHED, _RESPONSE_RELEASED),
        ):
            words[offset(released, instance) // _WORD] = words[offset(published, instance) // _WORD]
        self._request_doorbell(instance).clear()

    def close(self) -> None:
        """Unmap and close the semaphores; idempotent.

        All ends are unusable afterwards; no other thread may still be in a call to one of them, or
        in `wait_responses`.
        """
        for ends in (
            self._request_producers,
            self._request_consumers,
            self._response_producers,
            self._response_consumers,
        ):
            for end in ends.values():
                end._close()
            ends.clear()
        for semaphore in self._semaphores.values():
            semaphore.close()
        self._semaphores.clear()
        with contextlib.suppress(AttributeError):
            del self._response_published, self._response_released
        self._words.release()
        self._segment.close()

    def unlink(self) -> None:
        """Remove segment and semaphores; idempotent, and nothing unless this object made them."""
        if self._creator:
            self._creator = False
            unlink_semaphores(_semaphore_names(self._run_id, self.geometry.instances))
            self._segment.unlink()

    def _check(self, instance: int) -> None:
        if not 0 <= instance < self.geometry.instances:
            raise IndexError(f"instance {instance}: the rings have {self.geometry.instances}")

    def _column(self, column: int) -> npt.NDArray[np.uint64]:
        start = self.geometry.position_offset(column, 0)
        words = np.frombuffer(self._segment.buf, np.uint64, offset=start)
        return words[:: _LINE // _WORD][: self.geometry.instances]

    def _response_words(self) -> tuple[tuple[int, int], ...]:
        """Return where published and released of the response rings are in `_words`."""
        offset = self.geometry.position_offset
        return tuple(
            (offset(_RESPONSE_PUBLISHED, i) // _WORD, offset(_RESPONSE_RELEASED, i) // _WORD)
            for i in range(self.geometry.instances)
        )

    def _request_doorbell(self, instance: int) -> Doorbell:
        flag_at = self.geometry.position_offset(_REQUEST_FLAG, instance) // _WORD
        return Doorbell(self._semaphore(f"{WAKE_PART}{instance}"), self._words, flag_at)

    def _response_doorbell(self) -> Doorbell:
        return Doorbell(self._semaphore(DOORBELL_PART), self._words, _DOORBELL_FLAG // _WORD)

    def _semaphore(self, part: str) -> posix_ipc.Semaphore:
        semaphore = self._semaphores.get(part)
        if semaphore is None:
            semaphore = open_semaphore(segment_name(self._run_id, part))
            self._semaphores[part] = semaphore
        return semaphore


def _semaphore_names(run_id: str, instances: int) -> list[str]:
    parts = [DOORBELL_PART, *(f"{WAKE_PART}{instance}" for instance in range(instances))]
    return [segment_name(run_id, part) for part in parts]


def _align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
