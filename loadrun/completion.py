"""Answers handed to LoadGen, and instances that died noticed.

Who collects depends on the scenario. SingleStream and MultiStream: LoadGen's own thread, which has
nothing else to do until its query is answered, so that no answer passes from thread to thread.
Server: LoadGen's thread after each query it hands in, and the completion thread when no query comes
for a while. Offline: the completion thread, LoadGen's waits in LoadGen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from time import monotonic_ns

import mlperf_loadgen as lg

from loadrun.dispatch.dispatcher import Answered, Dispatcher
from loadrun.dispatch.suspects import PoisonError
from loadrun.responses import SlotResponses, Whole
from loadrun.timeline import Timeline
from shm.control import ControlBlock, InstanceState, RunState
from shm.ring import Response, Rings

WAIT_S = 0.05
"""Longest wait for an answer: the instances are looked after in between."""
_WATCH_S = 0.02
"""How often the states of the instances are looked at."""
LATENCIES_S = 0.5
"""How often the latencies so far are shared."""
PERCENTILES = (0.5, 0.9, 0.99)
"""Which percentiles of them: see `shm.control`."""
_NAP_S = 5e-3
_TOGETHER = 16
"""Instances whose answers go to LoadGen in one call, which costs as much as many a sample; more
would make the first ones wait for the last."""
_HELPED_CALLS = 50
"""LoadGen's thread that comes so often in a nap needs no help with collecting."""


class NoInstanceError(RuntimeError):
    """Every instance is gone and launch restarts none."""


class Collector:
    """Hands unread answers to LoadGen and the freed instances new batches; one thread at a time.

    Threads that share one take `turn` for it. `indices` are the samples at arena positions.
    """

    def __init__(
        self,
        rings: Rings,
        control: ControlBlock,
        dispatcher: Dispatcher,
        timeline: Timeline,
        indices: Callable[[list[int]], list[int]],
    ) -> None:
        self.turn = threading.Lock()
        self._rings = rings
        self._control = control
        self._states = control.states()
        self._dispatcher = dispatcher
        self._peeks = [rings.response_consumer(i).peek for i in range(control.instances)]
        self._slot_responses = SlotResponses()
        self._parts: dict[int, Whole] = {}  # by instance, answers that have come in part
        self._timeline = timeline
        self._indices = indices
        self._absent: set[int] = set()
        self._watch_at = 0.0
        self._latencies_at = 0.0

    def collect(self) -> None:
        """Take the oldest unread answer of each instance."""
        instances = self._rings.ready()
        for start in range(0, len(instances), _TOGETHER):
            self._complete(instances[start : start + _TOGETHER])

    def _complete(self, instances: list[int]) -> None:
        """Take an answer of each of these instances, and hand all to LoadGen in one call."""
        timeline = self._timeline
        responses: list[Response | Whole] = []
        answered: list[Answered] = []
        for instance in instances:
            response = self._take(instance)
            if response is not None:
                responses.append(response)
                answered.append((instance, response.ids, response.service_ns))
        if not responses:
            return
        # First the dispatcher: LoadGen takes ids for addresses, so that they are checked before;
        # the instances get their next batches at once; and LoadGen's next query, which can come
        # before QuerySamplesComplete is back, finds those idle that got none.
        arrivals = self._dispatcher.completed(answered)
        if timeline.timed and len(timeline.ends) < timeline.room:
            self._note(arrivals)
        answers: list[lg.QuerySampleResponse] = []
        for response in responses:
            answers += self._slot_responses(response)
        # LoadGen copies what it wants of the payload within this call.
        lg.QuerySamplesComplete(answers)
        for response in responses:
            response.release()

    def _take(self, instance: int) -> Response | Whole | None:
        """Return the oldest unread answer of an instance; None where there is none, or not all."""
        response = self._peeks[instance]()
        if response is None or not (response.rest or instance in self._parts):
            return response
        whole = self._parts.setdefault(instance, Whole())
        whole.add(response)
        return None if response.rest else self._parts.pop(instance)

    def _note(self, arrivals: list[int]) -> None:
        """Note the latencies of samples; without `arrivals`, that of a query, with its last one."""
        timeline = self._timeline
        if arrivals:
            timeline.ends += (monotonic_ns(), len(arrivals))
            timeline.starts += arrivals
        elif not self._dispatcher.outstanding:
            timeline.ends += (monotonic_ns(), 1)
            timeline.starts.append(self._dispatcher.issued_ns)

    def watch(self) -> None:
        """Every 20 ms, look for instances that died or came back.

        Raises NoInstanceError without any, PoisonError where a sample is what they die of.
        """
        now = time.monotonic()
        if now < self._watch_at:
            return
        self._watch_at = now + _WATCH_S
        states = self._states
        if (states == InstanceState.DEAD).any():
            for instance in (states == InstanceState.DEAD).nonzero()[0].tolist():
                self._bury(instance)
        for instance in [i for i in self._absent if states[i] == InstanceState.READY]:
            self._absent.remove(instance)
            self._dispatcher.add(instance)
        dispatcher = self._dispatcher
        dispatcher.poll()
        self._timeline.look(dispatcher.answered, dispatcher.outstanding, dispatcher.issued_ns)
        if self._timeline.timed and now >= self._latencies_at:
            self._latencies_at = now + LATENCIES_S
            self._control.latencies_ns = self._timeline.percentiles_ns(PERCENTILES)
        if dispatcher.alive == 0 and self._control.run_state == RunState.STOPPING:
            raise NoInstanceError("no instance is left to answer")

    def _bury(self, instance: int) -> None:
        """Read what a dead instance still answered, give the rest to others, empty its rings."""
        while self._rings.occupancy(instance).responses:
            self._complete([instance])
        self._parts.pop(instance, None)
        record = self._control.instance(instance)
        try:
            self._dispatcher.requeue(instance, record.blame)
        except PoisonError as error:
            raise PoisonError(self._indices(error.samples), error.deaths) from None
        self._rings.reset(instance)
        # A new generation lets launch start a successor, which sets a state of its own: ABSENT has
        # to come before it.
        record.state = InstanceState.ABSENT
        record.generation += 1
        self._absent.add(instance)


class CompletionThread(threading.Thread):
    """Collects answers until `stop`.

    `calls` returns how often LoadGen's thread has collected answers itself. While it does so more
    often than a wake-up costs, this thread only naps: it neither takes the GIL from LoadGen's
    thread nor has instances pay for waking it. `on_failure` is called from this thread with what
    made it end early.
    """

    def __init__(
        self,
        rings: Rings,
        collector: Collector,
        calls: Callable[[], int],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="completion", daemon=True)
        self._rings = rings
        self._collector = collector
        self._calls = calls
        self._on_failure = on_failure
        self._stopping = False

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping = True
        self.join()

    def run(self) -> None:
        """Complete, dispatch, watch."""
        try:
            self._serve()
        except BaseException as error:
            self._on_failure(error)

    def _serve(self) -> None:
        collector, calls, wait = self._collector, self._calls, self._rings.wait_responses
        helped, seen, since = False, calls(), time.monotonic()
        while not self._stopping:
            if helped:
                time.sleep(_NAP_S)
                unread = calls() == seen
            else:
                unread = wait(WAIT_S)
            count, now = calls(), time.monotonic()
            if now - since >= _NAP_S:
                # Over a shorter time, one call would look like many.
                helped = (count - seen) * _NAP_S >= _HELPED_CALLS * (now - since)
                seen, since = count, now
            with collector.turn:
                if unread or not helped:
                    collector.collect()
                collector.watch()
