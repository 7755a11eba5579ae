"""What the instances do, read from shared memory without a word to them.

The counters of an instance stand on cache lines of their own; a look at them once a second costs an
instance two cache misses. All figures are differences between two looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shm.control import ControlBlock, InstanceRecord, InstanceState


@dataclass(frozen=True)
class InstanceReading:
    """One instance since the look before.

    `busy` is the share of its time in the engine (0..1; None: nothing seen yet), `in_flight` the
    batches it holds, `rate` its samples/s, `serving` whether it takes batches.
    """

    index: int
    busy: float | None
    in_flight: int
    rate: float
    serving: bool


@dataclass(frozen=True)
class Reading:
    """All instances: samples `done` in the test so far, samples/s since the look before.

    `steps` are those of long samples that were done, 0 where there are none.
    """

    done: int
    rate: float
    instances: list[InstanceReading]
    steps: int = 0


class Meter:
    """Looks at the instances of a run whose test begins now.

    `held` is `shm.ring.Rings.held`.
    """

    def __init__(self, control: ControlBlock, held: Callable[[int], int], now_ns: int) -> None:
        self._held = held
        self._lost = [0] * control.instances
        self._instances = [_Counters(control.instance(i)) for i in range(control.instances)]
        # The test may have begun a moment ago.
        self._done = sum(control.instance(i).samples for i in range(control.instances))
        self._looked_ns = now_ns
        self._steps = 0

    def look(self, now_ns: int) -> Reading:
        """Read all counters; `now_ns` is CLOCK_MONOTONIC's."""
        past_s = max(now_ns - self._looked_ns, 1) / 1e9
        self._looked_ns = now_ns
        readings, answered = [], 0
        for index, counters in enumerate(self._instances):
            new, serving = counters.look()
            answered += new
            self._steps += counters.new_steps()
            held = self._held(index)
            if not serving:
                # Nothing is sent to it now: unanswered batches before it stay so.
                self._lost[index] = held
            in_flight = held - self._lost[index]
            readings.append(InstanceReading(index, counters.busy, in_flight, new / past_s, serving))
        self._done += answered
        return Reading(self._done, answered / past_s, readings, self._steps)


class _Counters:
    """The counters of one instance, those of its successors counted on."""

    def __init__(self, record: InstanceRecord) -> None:
        self._record = record
        self._samples, self._busy_ns = record.samples, record.busy_ns
        self._steps = record.steps
        self._alive_ns = record.heartbeat_ns
        self.busy: float | None = None

    def look(self) -> tuple[int, bool]:
        """New samples, and whether the instance serves; `busy` is renewed."""
        record = self._record
        alive_ns, busy_ns, samples = record.heartbeat_ns, record.busy_ns, record.samples
        # A successor counts from zero.
        new = samples - self._samples if samples >= self._samples else samples
        worked_ns = busy_ns - self._busy_ns if busy_ns >= self._busy_ns else busy_ns
        # From sign of life to sign of life, which ends of batches and of steps are: the time until
        # now may hold half of one. In its midst there is no newer figure.
        past_ns = alive_ns - self._alive_ns
        if past_ns > 0:
            self.busy = min(worked_ns / past_ns, 1.0)
            self._busy_ns, self._alive_ns = busy_ns, alive_ns
        self._samples = samples
        return new, record.state is InstanceState.READY

    def new_steps(self) -> int:
        """Steps since the last time."""
        steps, before = self._record.steps, self._steps
        self._steps = steps
        return steps - before if steps >= before else steps
