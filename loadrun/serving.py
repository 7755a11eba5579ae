"""The two ways to answer queries: instances behind rings, or an engine in this process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from loadrun.completion import Collector, CompletionThread
from loadrun.config import LoadrunConfig
from loadrun.dispatch.batching import make_rule
from loadrun.dispatch.dispatcher import Dispatcher
from loadrun.dispatch.policies import make_policy
from loadrun.library import SampleLibrary
from loadrun.report import InstanceReport
from loadrun.run_test import OnFailure
from loadrun.scenarios import SCENARIOS, Collects
from loadrun.settings import Settings
from loadrun.sut import (
    Answer,
    HelpingRingSUT,
    InProcessSUT,
    RingSUT,
    SystemUnderTest,
    WaitingRingSUT,
)
from loadrun.timeline import Timeline
from shm.arena import ArenaLayout, SampleArena
from shm.control import ControlBlock, InstanceRecord, InstanceState, RunState
from shm.ring import RingGeometry, Rings
from shm.segment import ShmError
from shm.wait import WaitStrategy

Engine = Callable[[list[int], SampleArena], Answer]
"""(positions of a batch, the samples) -> its answers."""
OnRecord = Callable[[InstanceRecord], None]
"""Is given the record in which work can be shown."""

_POLL_S = 0.005
_LEFT = (InstanceState.STOPPED, InstanceState.FAILED, InstanceState.DEAD, InstanceState.ABSENT)
_IN_PROCESS_WARMUP_S = 1.0


class InstanceError(RuntimeError):
    """An instance did not become ready; `instance` is its number."""

    def __init__(self, instance: int, message: str) -> None:
        self.instance = instance
        super().__init__(f"instance {instance} {message}")


class Serving(Protocol):
    """Something that warms up, then answers LoadGen's queries."""

    arena: SampleArena

    def load(self) -> None:
        """Wait until everything that answers has loaded its model."""

    def warm_up(self) -> list[float]:
        """Warm up on what is in the arena.

        Returns the standalone rate of each instance, samples of mean work a second.
        """

    def start(
        self, library: SampleLibrary, settings: Settings, on_failure: OnFailure
    ) -> SystemUnderTest:
        """Begin to answer; return what LoadGen issues to."""

    def stop(self) -> None:
        """End in order, all queries being answered."""

    def abort(self) -> None:
        """Tell everyone to leave and remove all segments, at once and from any thread."""

    def counts(self) -> tuple[list[InstanceReport], int]:
        """Return what each instance did and how many samples were dispatched twice."""

    def timeline(self) -> dict[str, Any]:
        """Return how the test went, as `Timeline.as_json` tells it."""


class RingServing:
    """Instances behind rings. Creating it creates the segments, the control block last."""

    def __init__(self, config: LoadrunConfig, layout: ArenaLayout) -> None:
        self._config = config
        self._dispatcher: Dispatcher | None = None
        self._completion: CompletionThread | None = None
        self._rates = [0.0] * config.instances
        self._scenario = SCENARIOS[config.scenario]
        self._timeline = Timeline(timed=not self._scenario.at_once)
        # A ring never holds more than the batches in flight; one slot more keeps a worker that
        # is about to release its slot from ever holding one up.
        geometry = RingGeometry(
            config.instances, config.in_flight + 1, config.batch_size, config.response_bytes
        )
        with contextlib.ExitStack() as undo:
            self.arena = SampleArena.create(config.run_id, layout)
            undo.callback(self.arena.unlink)
            wait = WaitStrategy(config.spin_us / 1e6)
            self._rings = Rings.create(config.run_id, geometry, wait_strategy=wait)
            undo.callback(self._rings.unlink)
            # Instances that find the control block rely on the rest.
            self._control = ControlBlock.create(config.run_id, config.instances)
            undo.pop_all()

    def load(self) -> None:
        """Wait until every instance has loaded its artifact. Raises InstanceError."""
        self._wait_for(InstanceState.LOADED, "loaded its model")

    def warm_up(self) -> list[float]:
        """Let all instances warm up side by side; raises InstanceError."""
        self._control.run_state = RunState.WARMUP
        self._wait_for(InstanceState.READY, "warmed up")
        self._rates = [self._control.instance(i).rate for i in range(self._config.instances)]
        return self._rates

    def _wait_for(self, wanted: InstanceState, verb: str) -> None:
        states = self._control.states()
        alive: list[int] = []
        while True:
            ended = states >= InstanceState.STOPPED
            if ended.any():
                instance = int(ended.argmax())
                state = InstanceState(int(states[instance])).name
                raise InstanceError(instance, f"ended ({state}) before it had {verb}")
            late = states < wanted
            if not late.any():
                return
            seen = [self._control.instance(i).heartbeat_ns for i in late.nonzero()[0].tolist()]
            if seen != alive:
                # A warm-up of long samples may take as long as it gives signs of life.
                alive = seen
                deadline = time.monotonic() + self._config.start_timeout_s
            if time.monotonic() > deadline:
                seconds = self._config.start_timeout_s
                raise InstanceError(int(late.argmax()), f"has not {verb} within {seconds:g} s")
            time.sleep(_POLL_S)

    def start(
        self, library: SampleLibrary, settings: Settings, on_failure: OnFailure
    ) -> SystemUnderTest:
        """Begin to collect answers; the run is RUNNING."""
        config, costs = self._config, library.costs
        policy = make_policy(config.policy, config.instances, config.in_flight)
        most = config.batch_cost or float(config.batch_size)
        # A part of a data set may cost the same though the whole does not.
        size = config.batch_size if costs else max(1, min(config.batch_size, int(most)))
        rule = make_rule(
            *(config.scenario, size, config.in_flight, settings.latency_limit_s),
            config.batch_ms,
            most if costs else None,
        )
        self._dispatcher = Dispatcher(
            [self._rings.request_producer(i) for i in range(config.instances)],
            policy,
            rule,
            sort_samples=config.sort_samples and self._scenario.at_once,
            costs=costs,
        )
        collector = Collector(
            self._rings, self._control, self._dispatcher, self._timeline, library.indices
        )
        self._control.run_state = RunState.RUNNING
        collects = self._scenario.collects
        if collects is Collects.ISSUING:
            wait = self._rings.wait_responses
            return WaitingRingSUT(library, self._dispatcher, collector, wait)
        sut: RingSUT
        if collects is Collects.ISSUING_OR_COMPLETION:
            sut = helping = HelpingRingSUT(library, self._dispatcher, collector)
            calls = helping.count
        else:
            sut, calls = RingSUT(library, self._dispatcher), _never
        self._completion = CompletionThread(self._rings, collector, calls, on_failure)
        self._completion.start()
        return sut

    def stop(self) -> None:
        """Stop the completion thread, see the instances off, remove the segments."""
        if self._completion is not None:
            self._completion.stop()
        if self._dispatcher is not None:
            answered, issued_ns = self._dispatcher.answered, self._dispatcher.issued_ns
            self._timeline.look(answered, self._dispatcher.outstanding, issued_ns)
        self._control.run_state = RunState.STOPPING
        states = self._control.states()
        deadline = time.monotonic() + self._config.stop_timeout_s
        while not np.isin(states, _LEFT).all() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._unlink()

    def abort(self) -> None:
        """Tell the instances to leave, and remove the segments under them."""
        self._control.run_state = RunState.STOPPING
        self._unlink()

    def _unlink(self) -> None:
        # The control block goes last: while it is there, whoever cleans up knows the owner.
        self.arena.unlink()
        self._rings.unlink()
        self._control.unlink()

    def counts(self) -> tuple[list[InstanceReport], int]:
        """Return loadrun's own count of what each instance answered."""
        sent = self._dispatcher
        if sent is None:
            return [], 0
        reports = [
            InstanceReport(i, sent.samples[i], sum(sent.sizes[i]), sent.busy_ns[i] / 1e9, rate)
            for i, rate in enumerate(self._rates)
        ]
        return reports, sent.redispatched

    def timeline(self) -> dict[str, Any]:
        """Return how the test went."""
        return self._timeline.as_json(self._dispatcher.sizes if self._dispatcher else [])


def _never() -> int:
    return 0


def unshown(record: InstanceRecord) -> None:
    """An engine that shows nothing while it answers a batch."""


class InProcessServing:
    """An engine in this process, called in LoadGen's thread (SingleStream as in the BKM).

    A control block with one record is there for those who watch; where /dev/shm does not take it,
    the test goes on without.
    """

    def __init__(
        self,
        config: LoadrunConfig,
        layout: ArenaLayout,
        engine: Engine,
        on_record: OnRecord = unshown,
    ) -> None:
        self._config = config
        self._engine = engine
        self._sut: InProcessSUT | None = None
        self._rate = 0.0
        self._timeline = Timeline(timed=True)
        self.arena = SampleArena.private(layout)
        self._control: ControlBlock | None = None
        with contextlib.suppress(ShmError):
            self._control = ControlBlock.create(config.run_id, 1)
            self._control.instance(0).pid = os.getpid()
            on_record(self._control.instance(0))

    def load(self) -> None:
        """The engine comes loaded."""
        self._tell(RunState.STARTING, InstanceState.LOADED)

    def warm_up(self) -> list[float]:
        """Run full batches, of as much work where samples differ in it, for a second.

        The first call is left out, unless it takes so long that nothing else can be measured.
        """
        self._tell(RunState.WARMUP, InstanceState.LOADED)
        loaded, costs = self.arena.loaded(), self.arena.costs
        work, took = 0.0, 0.0
        # From the cheapest on: where a sample takes long, it is enough to wait for.
        config = self._config
        start, size = len(loaded) - 1, max(1, int(config.batch_cost or config.batch_size))
        began = time.monotonic()
        while True:
            positions = [loaded[(start + i) % len(loaded)] for i in range(size)]
            before = time.monotonic()
            self._engine(positions, self.arena)
            now = time.monotonic()
            first = start == len(loaded) - 1
            if not first or now - before > _IN_PROCESS_WARMUP_S:
                work += float(costs[positions].sum())
                took += now - before
            start += size
            if work and now - began > _IN_PROCESS_WARMUP_S:
                break
        self._rate = work / max(took, 1e-9)
        if self._control is not None:
            self._control.instance(0).rate = self._rate
        self._tell(RunState.WARMUP, InstanceState.READY)
        return [self._rate]

    def start(
        self, library: SampleLibrary, settings: Settings, on_failure: OnFailure
    ) -> SystemUnderTest:
        """Return the SUT around the engine; the run is RUNNING."""
        self._sut = InProcessSUT(
            library, self._infer, self._config.batch_size, self._timeline, self._control
        )
        self._tell(RunState.RUNNING, InstanceState.READY)
        return self._sut

    def _tell(self, run: RunState, engine: InstanceState) -> None:
        if self._control is not None:
            record = self._control.instance(0)
            record.state, record.heartbeat_ns = engine, time.monotonic_ns()
            self._control.run_state = run

    def _infer(self, positions: list[int]) -> Answer:
        return self._engine(positions, self.arena)

    def stop(self) -> None:
        """See the last answers counted, remove the control block."""
        if self._sut is not None:
            self._sut.look()
        self._tell(RunState.STOPPING, InstanceState.STOPPED)
        self.abort()

    def abort(self) -> None:
        """Remove the control block."""
        if self._control is not None:
            self._control.run_state = RunState.STOPPING
            self._control.unlink()

    def counts(self) -> tuple[list[InstanceReport], int]:
        """Return the one instance that this process is."""
        if self._sut is None:
            return [], 0
        counted = self._sut
        busy_s = counted.busy_ns / 1e9
        batches = sum(counted.sizes)
        return [InstanceReport(0, counted.samples, batches, busy_s, self._rate)], 0

    def timeline(self) -> dict[str, Any]:
        """Return how the test went."""
        return self._timeline.as_json([self._sut.sizes] if self._sut is not None else [])
