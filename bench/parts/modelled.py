"""``python -m bench.parts.modelled CONFIG.json COUNT``: COUNT simulated instances in one process.

On a large server an instance wakes up on a processor of its own. Where 28 of them share two
processors, their wake-ups take from loadrun what it would have there, and what is measured is the
small machine. This process stands for all instances: it serves their rings in turn, never sleeps,
and answers a batch when its service time is over. To loadrun it looks like COUNT instances, each
with one batch at a time, but for one thing: none of them has to be woken, which costs loadrun a
system call for each batch that finds an instance asleep.

CONFIG.json is the configuration of instance 0 (`netrun.config`).
"""

from __future__ import annotations

import heapq
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from base.parent import die_with_parent
from netrun.config import NetrunConfig
from netrun.engines.null import ANSWER_BYTES
from netrun.engines.sim import SimulatedEngine
from shm.arena import SampleArena
from shm.control import ControlBlock, InstanceState, RunState
from shm.ring import Request, Rings
from shm.segment import SegmentMissing
from shm.wait import WaitStrategy

POLL_S = 0.01
LOOK_NS = 10_000_000
"""How often the state of the run is looked at, and signs of life are given."""
"""The engine null does not look at them."""


def main() -> None:
    """Serve until the run is over."""
    die_with_parent()
    path, count = sys.argv[1:]
    config = NetrunConfig.load(Path(path))
    with ExitStack() as stack:
        control = stack.enter_context(_attach(config))
        wait = WaitStrategy(0.0)
        rings = stack.enter_context(Rings.attach(config.run_id, wait_strategy=wait))
        arena = stack.enter_context(SampleArena.attach(config.run_id))
        instances = _Instances(config, int(count), control, rings, arena)
        instances.enter(InstanceState.LOADED)
        while control.run_state is RunState.STARTING:
            time.sleep(POLL_S)
        instances.enter(InstanceState.READY)
        instances.serve()
        instances.enter(InstanceState.STOPPED)


def _attach(config: NetrunConfig) -> ControlBlock:
    deadline = time.monotonic() + config.attach_timeout_s
    while True:
        try:
            return ControlBlock.attach(config.run_id)
        except SegmentMissing:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


class _Instances:
    def __init__(
        self,
        config: NetrunConfig,
        count: int,
        control: ControlBlock,
        rings: Rings,
        arena: SampleArena,
    ) -> None:
        self._control = control
        self._records = [control.instance(i) for i in range(count)]
        self._receive = [rings.request_consumer(i).receive for i in range(count)]
        self._send = [rings.response_producer(i).send for i in range(count)]
        self._service = SimulatedEngine(config.batch_size, config.sim, seed=0)
        self._costs = arena.costs
        most = config.batch_cost or config.batch_size
        batch_s = config.sim.mean_ms(most) / 1e3
        for record in self._records:
            record.pid = os.getpid()
            record.rate = most / batch_s

    def enter(self, state: InstanceState) -> None:
        """All instances are in `state` now."""
        for record in self._records:
            record.heartbeat_ns = time.monotonic_ns()
            record.state = state

    def serve(self) -> None:
        """Take batches, answer them in time."""
        idle = dict.fromkeys(range(len(self._records)))
        ends: list[tuple[int, int, int, Request]] = []  # (when, instance, service ns, batch)
        look_at_ns = 0
        while True:
            now_ns = time.monotonic_ns()
            while ends and ends[0][0] <= now_ns:
                _, instance, service_ns, request = heapq.heappop(ends)
                self._answer(instance, request, service_ns)
                idle[instance] = None
            for instance in list(idle):
                taken = self._receive[instance](0.0)
                if taken is not None:
                    costs = self._costs[taken.positions]
                    service_s = self._service.service_s(float(costs.sum()), float(costs.max()))
                    service_ns = round(1e9 * service_s)
                    end_ns = time.monotonic_ns() + service_ns
                    heapq.heappush(ends, (end_ns, instance, service_ns, taken))
                    del idle[instance]
            if now_ns >= look_at_ns:
                look_at_ns = now_ns + LOOK_NS
                for record in self._records:
                    record.heartbeat_ns = now_ns
                if self._control.run_state is RunState.STOPPING and not ends:
                    return
                if not self._control.owner_alive():
                    sys.exit("loadrun is gone")

    def _answer(self, instance: int, request: Request, service_ns: int) -> None:
        payload = bytes(ANSWER_BYTES * len(request.ids))
        self._send[instance](request.ids, payload, ANSWER_BYTES, service_ns)
        record = self._records[instance]
        record.samples += len(request.ids)
        record.batches += 1
        record.busy_ns += service_ns


if __name__ == "__main__":
    main()
