"""The figures of a run that its successor keeps to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from loadrun.scenarios import SCENARIOS, SINGLE_STREAM, Scenario

PERCENTILES = ("p50", "p90", "p99")
"""Latencies that a page shows."""
SETTINGS = (
    "engine",
    "precision",
    "batch_size",
    "in_flight",
    "policy",
    "instances",
    "cores",
    "target_qps",
    "weights",
    "data",
    "host",
    "loadrun",
    "torch",
)
"""What can make two runs of a kind differ."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The figures and settings of a run, flat; what it does not have is None."""

    run_id: str
    started: str | None = None
    status: str | None = None
    model: str | None = None
    scenario: str | None = None
    mode: str | None = None
    audit: str | None = None
    valid: bool | None = None
    figure: float | None = None
    unit: str | None = None
    latencies_ns: Mapping[str, float] = field(default_factory=dict)
    harness_efficiency: float | None = None
    utilisation: float | None = None
    duration_s: float | None = None
    accuracy: float | None = None
    synthetic: bool | None = None
    engine: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    in_flight: int | None = None
    policy: str | None = None
    instances: int | None = None
    cores: int | None = None
    target_qps: float | None = None
    weights: str | None = None
    data: str | None = None
    host: str | None = None
    loadrun: str | None = None
    torch: str | None = None

    @property
    def kind(self) -> tuple[str | None, ...]:
        """Runs that agree in this can be compared."""
        return self.model, self.scenario, self.mode, self.audit


def setting_of(run: RunFacts, name: str) -> str | float | None:
    """One of SETTINGS."""
    value: str | float | None = attrgetter(name)(run)
    return value


def scenario_named(name: str | None) -> Scenario:
    """A scenario; of a name that is none, the one with nothing special to show."""
    return SCENARIOS.get(name or "", SINGLE_STREAM)


def higher_is_better(unit: str | None) -> bool:
    """Whether a figure in that unit is a rate, not a latency."""
    return unit != "ms"
