"""LoadGen's scenarios and modes: everything in which one differs from the others, once.

Options, records and JSON carry names; whoever acts on one looks it up in SCENARIOS or MODES.
Imports nothing heavy: launch reads this for --help, too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

HARNESS_SAMPLES_S, HARNESS_QUERIES_S = 1e6, 2e4
"""What the loadrun process is expected to carry, Offline and Server. An engine measured alone can
be far quicker (one that computes nothing is), and LoadGen would make all the samples beforehand."""


class Arrival(Enum):
    """When LoadGen issues queries."""

    ONE_BY_ONE = "the next when the last is answered"
    SCHEDULED = "at times of its own, answered or not"
    AT_ONCE = "one query with all samples"


class Batching(Enum):
    """What the size of a batch is for: see the rules in `loadrun.dispatch.batching`."""

    SPLIT = "a query is spread over the idle instances"
    LATENCY = "what has accumulated, within the latency limit"
    THROUGHPUT = "full batches, and a tail that shrinks"


class Collects(Enum):
    """Which thread takes answers from the rings: see `loadrun.completion`."""

    ISSUING = "LoadGen's, in the call that brought the query"
    ISSUING_OR_COMPLETION = "LoadGen's as it brings queries, else the completion thread"
    COMPLETION = "the completion thread"


@dataclass(frozen=True)
class Target:
    """What LoadGen is given to expect: a latency in ns, or a rate in 1/s.

    `setting` is its name in LoadGen's TestSettings, `key` the one in user.conf, where the value is
    `factor` times as large: latencies are in ms there.
    """

    setting: str
    key: str
    factor: float = 1.0


@dataclass(frozen=True)
class LoggedMetric:
    """The figure that MLPerf's submission checker reads in LoadGen's detail log.

    `key` is its key there, `name` its wording for people; the value times `factor` is in `unit`.
    `fallback` is read where LoadGen writes 0: too few queries ran for the early-stopping estimate.
    """

    key: str
    name: str
    unit: str
    factor: float = 1.0
    fallback: str | None = None


@dataclass(frozen=True)
class Scenario:
    """One of LoadGen's scenarios. `name` is LoadGen's and MLPerf's spelling.

    Settings of LoadGen that not every scenario has, by their names in TestSettings, None without:
    `percentile` is the share of queries that counts, `limit` the latency (ns) that it must keep,
    `samples_per_query` their number. `counts` says whether MLPerf asks for a number of queries
    (Offline: samples); elsewhere early stopping decides.

    `rate` is the unit of the rate by which `loadrun tune` compares choices, `tried_batch_sizes` are
    those among which it chooses. `batch_size` and `policy` are defaults: the policy is the one that
    won on the same tests (docs/benchmarks.md), and dispatch sends smaller batches where that
    answers sooner. `most_target` is the highest target that loadrun sets by itself. Scores up to
    `short_ns` vary too much for the usual tolerance of a compliance test.
    """

    name: str
    arrival: Arrival
    target: Target
    metric: LoggedMetric
    batching: Batching
    collects: Collects
    rate: str
    batch_size: int
    policy: str
    tried_batch_sizes: tuple[int, ...]
    percentile: str | None = None
    limit: str | None = None
    samples_per_query: str | None = None
    counts: bool = False
    most_target: float | None = None
    short_ns: int = 0

    @property
    def one_by_one(self) -> bool:
        """One query at a time: the score is a latency, and the target the one that is expected."""
        return self.arrival is Arrival.ONE_BY_ONE

    @property
    def scheduled(self) -> bool:
        """Queries come whether or not the last ones are answered: there is a rate that holds."""
        return self.arrival is Arrival.SCHEDULED

    @property
    def at_once(self) -> bool:
        """All samples come at once: their latencies only say how long the test took."""
        return self.arrival is Arrival.AT_ONCE

    @property
    def one_sample(self) -> bool:
        """One sample at a time: one instance serves it, which can share LoadGen's process."""
        return self.one_by_one and self.samples_per_query is None


SINGLE_STREAM = Scenario(
    name="SingleStream",
    arrival=Arrival.ONE_BY_ONE,
    target=Target("single_stream_expected_latency_ns", "target_latency", 1e-6),
    metric=LoggedMetric(
        "early_stopping_latency_ss",
        "90th percentile latency",
        "ms",
        1e-6,
        fallback="result_90.00_percentile_latency_ns",
    ),
    batching=Batching.SPLIT,
    collects=Collects.ISSUING,
    rate="queries/s at the percentile that counts",
    batch_size=1,
    policy="pull",
    tried_batch_sizes=(1,),
    percentile="single_stream_target_latency_percentile",
    short_ns=200_000,
)
MULTI_STREAM = Scenario(
    name="MultiStream",
    arrival=Arrival.ONE_BY_ONE,
    target=Target("multi_stream_expected_latency_ns", "target_latency", 1e-6),
    metric=LoggedMetric(
        "early_stopping_latency_ms",
        "99th percentile latency",
        "ms",
        1e-6,
        fallback="result_99.00_percentile_per_query_latency_ns",
    ),
    batching=Batching.SPLIT,
    collects=Collects.ISSUING,
    rate="queries/s at the percentile that counts",
    batch_size=8,
    policy="pull",
    tried_batch_sizes=(1, 2, 4, 8),
    percentile="multi_stream_target_latency_percentile",
    samples_per_query="multi_stream_samples_per_query",
    counts=True,
    short_ns=1_600_000,
)
SERVER = Scenario(
    name="Server",
    arrival=Arrival.SCHEDULED,
    target=Target("server_target_qps", "target_qps"),
    metric=LoggedMetric("result_completed_samples_per_sec", "completed samples", "samples/s"),
    batching=Batching.LATENCY,
    collects=Collects.ISSUING_OR_COMPLETION,
    rate="queries/s within the limit",
    batch_size=4,
    policy="pull",
    tried_batch_sizes=(1, 2, 3, 4, 6, 8, 12, 16),
    percentile="server_target_latency_percentile",
    limit="server_target_latency_ns",
    most_target=HARNESS_QUERIES_S,
)
OFFLINE = Scenario(
    name="Offline",
    arrival=Arrival.AT_ONCE,
    target=Target("offline_expected_qps", "target_qps"),
    metric=LoggedMetric("result_samples_per_second", "samples", "samples/s"),
    batching=Batching.THROUGHPUT,
    collects=Collects.COMPLETION,
    rate="samples/s",
    batch_size=8,
    policy="least_loaded",
    tried_batch_sizes=(1, 2, 4, 6, 8, 11, 16, 24, 32),
    counts=True,
    most_target=HARNESS_SAMPLES_S,
)
SCENARIOS = {scenario.name: scenario for scenario in (SINGLE_STREAM, MULTI_STREAM, SERVER, OFFLINE)}


@dataclass(frozen=True)
class Mode:
    """One of LoadGen's modes: the tests that it is made of.

    `searches` is LoadGen's own search for the highest rate that holds.
    """

    name: str
    performance: bool = False
    accuracy: bool = False
    searches: bool = False

    @property
    def accuracy_only(self) -> bool:
        """Whether there is no performance in it at all."""
        return self.accuracy and not self.performance


PERFORMANCE_ONLY = Mode("PerformanceOnly", performance=True)
ACCURACY_ONLY = Mode("AccuracyOnly", accuracy=True)
SUBMISSION_RUN = Mode("SubmissionRun", performance=True, accuracy=True)
FIND_PEAK_PERFORMANCE = Mode("FindPeakPerformance", searches=True)
MODES = {
    mode.name: mode
    for mode in (PERFORMANCE_ONLY, ACCURACY_ONLY, SUBMISSION_RUN, FIND_PEAK_PERFORMANCE)
}


class UnknownNameError(ValueError):
    """A scenario or mode that LoadGen does not have; the message names the nearest one."""


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the entry of `names` closest to `word` in spelling, or None when none is close."""
    folded = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.4)
    return folded[found[0]] if found else None


def _parse(kind: str, text: str, names: Iterable[str]) -> str:
    plain = text.lower().replace("-", "").replace("_", "").replace(" ", "")
    for name in names:
        if plain == name.lower():
            return name
    guess = nearest(plain, names)
    hint = f"nearest: {guess}; " if guess else ""
    raise UnknownNameError(f"unknown {kind} {text!r} ({hint}one of {', '.join(names)})")


def parse_scenario(text: str) -> str:
    """Return LoadGen's spelling of a scenario: `offline`, `single-stream`, `SERVER` are accepted.

    Raises UnknownNameError.
    """
    return _parse("scenario", text, SCENARIOS)


def parse_mode(text: str) -> str:
    """Return LoadGen's spelling of a mode, in any capitalisation; raises UnknownNameError."""
    return _parse("mode", text, MODES)
