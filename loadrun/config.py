"""What one loadrun process needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from base.configs import Config
from base.errors import ConfigError, quoted
from loadrun.rounds import AUDIT_SEEDS, UnknownRoundError, parse_round
from loadrun.scenarios import (
    MODES,
    SCENARIOS,
    UnknownNameError,
    parse_mode,
    parse_scenario,
)
from shm.segment import segment_name


@dataclass(frozen=True)
class Overrides:
    """Command-line settings; each wins over user.conf, and None leaves a setting alone.

    `target_qps` is samples/s (Offline) or queries/s (the others). `target_latency_ms` is the limit
    of Server and the expected latency of SingleStream and MultiStream. In Offline, where LoadGen
    issues one query, the two query counts count samples. A `max_query_count` of 0 is no bound.
    """

    min_duration_s: float | None = None
    min_query_count: int | None = None
    max_query_count: int | None = None
    target_qps: float | None = None
    target_latency_ms: float | None = None
    samples_per_query: int | None = None


@dataclass(frozen=True)
class LoadrunConfig(Config):
    """One LoadGen test.

    `samples` names a folder of prepared samples (`models.samples`), of which the first
    `sample_count` are the data set. `performance_sample_count` (0: the whole set),
    `offline_samples`, the fewest of an Offline test, and `server_latency_ms` are the benchmark's
    own, for what LoadGen's mlperf.conf does not name; in a round the limit is always its
    own, which mlperf.conf may have changed since. `response_bytes` is the capacity of one
    sample's answer. A batch has at most `batch_size` samples and, where these differ in work,
    `batch_cost` of it, in mean samples (None: as much as `batch_size` of them). `in_flight` bounds
    the batches an instance holds at a time. `processors` is the affinity of this process.
    `spin_us` is how long loadrun looks for answers before it sleeps.
    `batch_ms` is what batches of 1, 2, ... samples take an instance, as far as it was measured.
    `report` is the JSON file written (whole, by rename) when the test starts and when it ends.
    `any_length`: a test that takes far longer than was asked for is run all the same.
    `round` is the MLPerf round whose seeds hold; None leaves LoadGen's own. `other_seeds`: those of
    its compliance test TEST05.
    """

    run_id: str
    model: str
    scenario: str
    mode: str
    log_dir: str
    samples: str
    sample_count: int
    report: str
    instances: int = 1
    batch_size: int = 1
    batch_cost: float | None = None
    response_bytes: int = 4
    in_flight: int = 2
    policy: str = "pull"
    sort_samples: bool = True
    performance_sample_count: int | None = None
    offline_samples: int = 24_576
    server_latency_ms: float | None = None
    user_conf: str | None = None
    audit_config: str | None = None
    round: str | None = None
    other_seeds: bool = False
    any_length: bool = False
    processors: list[int] | None = None
    spin_us: float = 100.0
    batch_ms: list[float] = field(default_factory=list)
    overrides: Overrides = field(default_factory=Overrides)
    start_timeout_s: float = 120.0
    stop_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Check every value; names of scenario and mode take LoadGen's spelling."""
        try:
            segment_name(self.run_id, "control")
        except ValueError as error:
            raise ConfigError(f"run_id: {error}") from None
        try:
            object.__setattr__(self, "scenario", parse_scenario(self.scenario))
            object.__setattr__(self, "mode", parse_mode(self.mode))
            if self.round is not None:
                object.__setattr__(self, "round", parse_round(self.round))
        except (UnknownNameError, UnknownRoundError) as error:
            raise ConfigError(str(error)) from None
        if self.other_seeds and self.round not in AUDIT_SEEDS:
            raise ConfigError(
                f"other_seeds: round {quoted(self.round)} has none (those that have:"
                f" {', '.join(AUDIT_SEEDS)})"
            )
        for name in ("sample_count", "instances", "batch_size", "response_bytes", "in_flight"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {quoted(getattr(self, name))}; it must be at least 1")
        if self.batch_cost is not None and not self.batch_cost > 0:
            raise ConfigError(f"batch_cost is {quoted(self.batch_cost)}; it must be positive")
        if self.spin_us < 0:
            raise ConfigError(f"spin_us is {quoted(self.spin_us)}; it must be 0 or more")
        if self.performance_sample_count is not None and self.performance_sample_count < 0:
            raise ConfigError(
                f"performance_sample_count is {quoted(self.performance_sample_count)}; "
                "leave it out or make it at least 1 (0: the whole data set)"
            )
        if MODES[self.mode].searches and not SCENARIOS[self.scenario].scheduled:
            raise ConfigError(
                f"mode {self.mode} exists for Server only, not {self.scenario}; "
                "choose scenario Server or mode PerformanceOnly"
            )
        self._check_overrides()

    def _check_overrides(self) -> None:
        for item in fields(Overrides):
            value = getattr(self.overrides, item.name)
            lowest = 0 if item.name.startswith(("min_", "max_")) else None
            if value is not None and (value < 0 or (lowest is None and value == 0)):
                raise ConfigError(f"overrides.{item.name} is {quoted(value)}; it must be positive")
        scenario = SCENARIOS[self.scenario]
        if self.overrides.samples_per_query is not None and scenario.samples_per_query is None:
            raise ConfigError(
                f"overrides.samples_per_query applies to MultiStream, not {self.scenario}"
            )
        if self.overrides.target_latency_ms is not None and scenario.at_once:
            raise ConfigError(f"overrides.target_latency_ms: {self.scenario} has no latency limit")
