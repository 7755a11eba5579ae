"""The control block: state of the run, and one record per instance.

| offset          | bytes | type | field           | written by                                  |
|----------------:|------:|------|-----------------|---------------------------------------------|
|               0 |     8 | u64  | magic `LRctrl\\0\\0` | creator, last                            |
|               8 |     8 | u64  | version         | creator                                     |
|              16 |     8 | u64  | owner pid       | creator                                     |
|              24 |     8 | u64  | owner start time (clock ticks since boot) | creator           |
|              32 |     8 | u64  | owner pid namespace (inode) | creator                         |
|              40 |     8 | u64  | owner uid       | creator                                     |
|              48 |     8 | u64  | instances       | creator                                     |
|             128 |     4 | u32  | run state       | loadrun                                     |
|             136 |    24 | u64  | latency so far: p50, p90, p99, ns | loadrun                   |
| 256 + 256 i     |     4 | u32  | state           | the instance; launch (DEAD), loadrun (ABSENT) |
| 256 + 256 i + 4 |     4 | u32  | pid             | the instance                                |
| 256 + 256 i + 8 |     4 | u32  | generation      | loadrun                                     |
| 256 + 256 i + 12 |    4 | u32  | blame           | launch, before DEAD                         |
| 384 + 256 i     |     8 | u64  | samples         | the instance                                |
| 384 + 256 i + 8 |     8 | u64  | batches         | the instance                                |
| 384 + 256 i + 16 |    8 | u64  | busy_ns         | the instance                                |
| 384 + 256 i + 24 |    8 | u64  | heartbeat_ns    | the instance                                |
| 384 + 256 i + 32 |    8 | f64  | rate            | the instance                                |
| 384 + 256 i + 40 |    8 | u64  | steps           | the instance                                |

A record is two blocks of 128 bytes (two cache lines, fetched as a pair by x86 prefetchers): what
loadrun looks at all the time, and the counters that the instance writes after every batch (of long
samples, after every step). Every
field has one writer at a time and fits one aligned word, so that it is never read torn. Magic,
version and owner stay where they are in all versions to come: `reclaim` reads them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from shm.closing import Closing
from shm.header import read_header, write_header
from shm.owner import Owner
from shm.segment import Segment, ShmError, segment_name

PART = "control"
MAGIC = b"LRctrl\0\0"
VERSION = 5

_RUN_STATE = 128 // 4
_LATENCIES = slice(136 // 8, 160 // 8)
_RECORDS = 256
_RECORD = 256
_COUNTERS = 128
_HEADER_FIELDS = 5


class RunState(IntEnum):
    """What loadrun is doing; the instances follow it."""

    STARTING = 0
    WARMUP = 1
    RUNNING = 2
    STOPPING = 3


class InstanceState(IntEnum):
    """The life of an instance: LOADED has its artifact, READY has warmed up, DEAD was killed."""

    ABSENT = 0
    LOADED = 1
    READY = 2
    STOPPED = 3
    FAILED = 4
    DEAD = 5


class Blame(IntEnum):
    """What an instance's death says of the batch that it worked on.

    NONE: nothing, somebody stopped it. HALF: little, somebody outside killed it. FULL: it died of
    itself, or by what it asked of the machine.
    """

    NONE = 0
    HALF = 1
    FULL = 2


class InstanceRecord:
    """Reads and writes the record of one instance, straight in shared memory."""

    __slots__ = ("_counters", "_heads", "_rates")

    def __init__(self, block: memoryview) -> None:
        counters = block[_COUNTERS:]
        self._heads = block[:_COUNTERS].cast("I")
        self._counters = counters.cast("Q")
        self._rates = counters.cast("d")

    @property
    def state(self) -> InstanceState:
        """Where the instance is in its life."""
        return InstanceState(self._heads[0])

    @state.setter
    def state(self, value: InstanceState) -> None:
        self._heads[0] = value

    @property
    def pid(self) -> int:
        """Process id of the instance, 0 before the first."""
        return self._heads[1]

    @pid.setter
    def pid(self, value: int) -> None:
        self._heads[1] = value

    @property
    def generation(self) -> int:
        """How often the rings of this instance have been reset (u32)."""
        return self._heads[2]

    @generation.setter
    def generation(self, value: int) -> None:
        self._heads[2] = value

    @property
    def blame(self) -> Blame:
        """What the latest death of this instance says of its batch; holds where it is DEAD."""
        return Blame(self._heads[3])

    @blame.setter
    def blame(self, value: Blame) -> None:
        self._heads[3] = value

    @property
    def samples(self) -> int:
        """Samples answered (u64)."""
        return self._counters[0]

    @samples.setter
    def samples(self, value: int) -> None:
        self._counters[0] = value

    @property
    def batches(self) -> int:
        """Batches answered (u64)."""
        return self._counters[1]

    @batches.setter
    def batches(self, value: int) -> None:
        self._counters[1] = value

    @property
    def busy_ns(self) -> int:
        """Time spent in the engine, nanoseconds (u64)."""
        return self._counters[2]

    @busy_ns.setter
    def busy_ns(self, value: int) -> None:
        self._counters[2] = value

    @property
    def heartbeat_ns(self) -> int:
        """Last sign of life, CLOCK_MONOTONIC nanoseconds (u64)."""
        return self._counters[3]

    @heartbeat_ns.setter
    def heartbeat_ns(self, value: int) -> None:
        self._counters[3] = value

    @property
    def rate(self) -> float:
        """Samples per second measured at warm-up, 0.0 before it."""
        return self._rates[4]

    @rate.setter
    def rate(self, value: float) -> None:
        self._rates[4] = value

    @property
    def steps(self) -> int:
        """Rows of parts that were run (u64), of tasks whose samples take long; else 0."""
        return self._counters[5]

    @steps.setter
    def steps(self, value: int) -> None:
        self._counters[5] = value

    def close(self) -> None:
        """Let go of the shared memory; any later use raises ValueError."""
        for view in (self._heads, self._counters, self._rates):
            view.release()


class ControlBlock(Closing):
    """The run's control block: `create` in loadrun, `attach` everywhere else.

    `instances` is their number, `owner` the process that created the block, `uid` its user.
    """

    def __init__(self, segment: Segment) -> None:
        pid, start_time, pid_namespace, uid, instances = read_header(
            segment, MAGIC, VERSION, _HEADER_FIELDS
        )
        if segment.size < _size(instances):
            raise ShmError(f"{segment.name}: {segment.size} bytes cannot hold {instances} records")
        self.owner = Owner(pid, start_time, pid_namespace)
        self.uid = uid
        self.instances = instances
        self._segment = segment
        self._words = segment.buf[:_RECORDS].cast("I")
        self._latencies = segment.buf[:_RECORDS].cast("Q")[_LATENCIES]
        self._records = [
            InstanceRecord(segment.buf[start : start + _RECORD])
            for start in range(_RECORDS, _size(instances), _RECORD)
        ]

    @classmethod
    def create(cls, run_id: str, instances: int) -> ControlBlock:
        """Create the block, owned by this process, all instances ABSENT, the run STARTING."""
        if instances < 1:
            raise ValueError(f"instances {instances}: expected at least 1")
        owner = Owner.current()
        segment = Segment.create(segment_name(run_id, PART), _size(instances))
        fields = (owner.pid, owner.start_time, owner.pid_namespace, os.getuid(), instances)
        write_header(segment, MAGIC, VERSION, fields)
        return cls(segment)

    @classmethod
    def attach(cls, run_id: str) -> ControlBlock:
        """Attach; SegmentMissing until it is there and complete, ShmError for another layout."""
        segment = Segment.attach(segment_name(run_id, PART))
        try:
            return cls(segment)
        except ShmError:
            segment.close()
            raise

    def owner_alive(self) -> bool:
        """Whether the process that created the block still runs (pid and start time)."""
        return self.owner.alive()

    @property
    def run_state(self) -> RunState:
        """What loadrun is doing."""
        return RunState(self._words[_RUN_STATE])

    @run_state.setter
    def run_state(self, value: RunState) -> None:
        self._words[_RUN_STATE] = value

    @property
    def latencies_ns(self) -> tuple[int, ...]:
        """Percentiles 50, 90 and 99 of the latencies so far, ns; zeros where none are known."""
        return tuple(self._latencies)

    @latencies_ns.setter
    def latencies_ns(self, values: Sequence[int]) -> None:
        for place, value in enumerate(values):
            self._latencies[place] = value

    def instance(self, index: int) -> InstanceRecord:
        """Return the record of instance `index`."""
        if not 0 <= index < self.instances:
            raise IndexError(f"instance {index}: the run has {self.instances}")
        return self._records[index]

    def states(self) -> npt.NDArray[np.uint32]:
        """Return a live view of all states, shape (instances,), dtype uint32."""
        words = np.frombuffer(self._segment.buf, np.uint32, offset=_RECORDS)
        return words[:: _RECORD // 4][: self.instances]

    def close(self) -> None:
        """Unmap; idempotent."""
        for record in self._records:
            record.close()
        with contextlib.suppress(BufferError):
            self._words.release()
            self._latencies.release()
        self._segment.close()

    def unlink(self) -> None:
        """Remove the block; idempotent, and nothing unless this object created it."""
        self._segment.unlink()


def _size(instances: int) -> int:
    return _RECORDS + instances * _RECORD
