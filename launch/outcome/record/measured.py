"""The parts of a record that say what its test was, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from base.errors import InputError
from launch.outcome.record.timeline import TimelineRecord
from loadrun.logs import Metric
from loadrun.report import InstanceReport
from loadrun.scenarios import Scenario


@dataclass(frozen=True, kw_only=True)
class MeasuredRecord:
    """What the loadrun process reported (`loadrun.report.Report`); empty where it did not.

    `settings` are LoadGen's by their names there.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    target_source: str | None = None
    expected_duration_s: float | None = None
    duration_s: float | None = None
    instances: tuple[InstanceReport, ...] = ()
    standalone_rate: float | None = None
    harness_efficiency: float | None = None
    redispatched_samples: int = 0
    timeline: TimelineRecord | None = None

    def setting(self, name: str | None) -> float | None:
        """A setting that is a number; None for no name, and where LoadGen had none."""
        value = self.settings.get(name) if name is not None else None
        return value if isinstance(value, (int, float)) else None

    def needed(self, name: str) -> float:
        """A setting that every test has; InputError where there is none."""
        value = self.setting(name)
        if value is None:
            raise InputError(f"settings.{name} is missing in the record of the run: run it again")
        return value

    def target(self, scenario: Scenario) -> float:
        """The target of the test, in the unit of user.conf; InputError where it has none."""
        return self.needed(scenario.target.setting) * scenario.target.factor

    @property
    def busy_s(self) -> float:
        """Time of all instances together in the engine."""
        return sum(instance.busy_s for instance in self.instances)

    @property
    def served_s(self) -> float | None:
        """Seconds from the first query to the last answer; of old runs, those of LoadGen's test."""
        at_s = self.timeline.at_s if self.timeline else ()
        return at_s[-1] if at_s else self.duration_s


@dataclass(frozen=True)
class Missed:
    """A reason why a result is INVALID, and what to do about it."""

    reason: str
    cure: str


@dataclass(frozen=True)
class ResultRecord:
    """LoadGen's verdict and figures; `valid` None where the mode has no performance result.

    `latencies_ns` are those of `loadrun.logs.LoadgenResult`, `fields` all keys of LoadGen's log.
    """

    valid: bool | None
    metric: Metric | None
    latencies_ns: Mapping[str, float]
    invalid: tuple[Missed, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    fields: Mapping[str, Any]

    @property
    def within_limit(self) -> bool:
        """Whether the latency percentile that counts was within the limit.

        A short test has too few queries for LoadGen's early stopping to call it VALID; the
        percentile is there all the same.
        """
        return bool(self.fields.get("result_perf_constraints_met"))


@dataclass(frozen=True, kw_only=True)
class AccuracyRecord:
    """Accuracy in the official wording; `target` (0..1) is what a submission has to reach.

    `value` is in parts of 1 whatever the `metric` is; `good` is there where answers are right or
    wrong.

    `doubts` are the reasons why it means nothing.
    """

    text: str
    value: float
    good: int | None
    total: int
    target: float | None
    doubts: tuple[str, ...] = ()
    metric: str = "accuracy"
