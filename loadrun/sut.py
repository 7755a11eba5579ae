"""What LoadGen issues queries to: instances behind rings, by scenario, or an engine in its thread.

LoadGen calls them in the thread that starts the test, with the GIL taken for the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import mlperf_loadgen as lg
import numpy as np

from loadrun.completion import LATENCIES_S, PERCENTILES, WAIT_S, Collector
from loadrun.dispatch.dispatcher import Dispatcher
from loadrun.library import SampleLibrary
from loadrun.responses import make_responses
from loadrun.timeline import Timeline
from shm.control import ControlBlock

Answer = tuple[Any, Sequence[int] | int]
"""The answers to a batch, one behind the other, as an array or bytes; the bytes of each sample, one
figure if all are equally long."""
Infer = Callable[[list[int]], Answer]
"""Arena positions of a batch -> its answers."""

_LOOK_NS = 20_000_000
"""How often the timeline has a look."""
_LATENCIES_NS = int(1e9 * LATENCIES_S)


class SystemUnderTest(Protocol):
    """What LoadGen issues queries to."""

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Take one query: response ids and sample indices, equally many."""

    def flush(self) -> None:
        """All queries of a phase are issued; SubmissionRun and FindPeakPerformance have several."""


class RingSUT:
    """Serves queries through the rings; answers are collected by another thread (Offline)."""

    def __init__(self, library: SampleLibrary, dispatcher: Dispatcher) -> None:
        self._positions = library.positions
        self._dispatcher = dispatcher

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Hand the query to the dispatcher."""
        self._dispatcher.submit(ids, self._positions(indices))

    def flush(self) -> None:
        """Nothing is held back for larger batches, so this only looks once more."""
        self._dispatcher.poll()


class HelpingRingSUT(RingSUT):
    """Collects what has been answered with each query handed in (Server).

    Two threads of Python take turns at tens of microseconds each; this one has its turn anyway.
    """

    def __init__(
        self, library: SampleLibrary, dispatcher: Dispatcher, collector: Collector
    ) -> None:
        super().__init__(library, dispatcher)
        self._turn, self._collect = collector.turn, collector.collect
        self._calls = 0

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Hand the query to the dispatcher, then collect, unless the other thread does."""
        self._dispatcher.submit(ids, self._positions(indices))
        self._calls += 1
        if self._turn.acquire(False):
            try:
                self._collect()
            finally:
                self._turn.release()

    def count(self) -> int:
        """Return how often this thread has collected."""
        return self._calls


class WaitingRingSUT(RingSUT):
    """Waits for the answers to its query and collects them (SingleStream, MultiStream)."""

    def __init__(
        self,
        library: SampleLibrary,
        dispatcher: Dispatcher,
        collector: Collector,
        wait: Callable[[float], bool],
    ) -> None:
        super().__init__(library, dispatcher)
        self._collector = collector
        self._wait = wait

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Hand the query to the dispatcher and see it answered."""
        dispatcher, wait = self._dispatcher, self._wait
        collect, watch = self._collector.collect, self._collector.watch
        dispatcher.submit(ids, self._positions(indices))
        while dispatcher.outstanding:
            if wait(WAIT_S):
                collect()
            watch()


class InProcessSUT:
    """Serves queries in LoadGen's own thread, up to `batch_size` samples at a time.

    `samples` counts what it has answered, `sizes[n]` its batches of n samples, `busy_ns` its time
    in the engine. `control`, where there is one, has one record, kept for those who watch.
    """

    def __init__(
        self,
        library: SampleLibrary,
        infer: Infer,
        batch_size: int,
        timeline: Timeline,
        control: ControlBlock | None,
    ) -> None:
        self._positions = library.positions
        self._infer = infer
        self._timeline = timeline
        self._control = control
        self._batch_size = batch_size
        self._batches = 0
        self._look_at_ns = self._latencies_at_ns = 0
        self._last = (0, 0)  # when the latest query came and was answered
        self.samples = 0
        self.sizes = [0] * (batch_size + 1)
        self.busy_ns = 0

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Infer and complete before returning."""
        issued_ns = begin_ns = time.monotonic_ns()
        positions = self._positions(indices)
        for start in range(0, len(ids), self._batch_size):
            batch = ids[start : start + self._batch_size]
            answer = self._infer(positions[start : start + len(batch)])
            done_ns = time.monotonic_ns()
            _complete(batch, *answer)
            self.sizes[len(batch)] += 1
            self._batches += 1
            self.busy_ns += done_ns - begin_ns
            begin_ns = time.monotonic_ns()
        self.samples += len(ids)
        self._last = issued_ns, done_ns
        timeline = self._timeline
        if len(timeline.ends) < timeline.room:
            timeline.ends += (done_ns, 1)
            timeline.starts.append(issued_ns)
        if done_ns >= self._look_at_ns:
            self._look_at_ns = done_ns + _LOOK_NS
            self.look()

    def look(self) -> None:
        """Let the timeline, and whoever watches, see what has been answered."""
        issued_ns, done_ns = self._last
        self._timeline.look(self.samples, 0, issued_ns, done_ns)
        if self._control is None:
            return
        record = self._control.instance(0)
        record.samples, record.batches = self.samples, self._batches
        record.busy_ns, record.heartbeat_ns = self.busy_ns, done_ns
        if done_ns >= self._latencies_at_ns:
            self._latencies_at_ns = done_ns + _LATENCIES_NS
            self._control.latencies_ns = self._timeline.percentiles_ns(PERCENTILES)

    def flush(self) -> None:
        """Nothing is ever outstanding."""


def _complete(ids: list[int], payload: Any, lengths: Sequence[int] | int) -> None:
    """Hand the answers to LoadGen, which copies them. ValueError for lengths that do not fit."""
    # This reference keeps the bytes alive during the call: a copy, where the payload is scattered.
    answers = np.ascontiguousarray(
        payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, np.uint8)
    )
    each = [lengths] * len(ids) if isinstance(lengths, int) else lengths
    if sum(each) > answers.nbytes:
        raise ValueError(f"answers of {sum(each)} bytes in {answers.nbytes}")
    lg.QuerySamplesComplete(make_responses(ids, answers.ctypes.data, each))
