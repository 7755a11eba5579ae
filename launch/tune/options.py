"""What the user asked of a tuning session, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launch.options import Sources


@dataclass(frozen=True)
class TuneOptions:
    """One session; None leaves a choice to loadrun.

    `budget_s` bounds the session, `trials` the choices measured in it. `short_s` and `long_s` are
    the durations of the tests that prune and that count; `rounds` how often finalists are measured.
    """

    model: str
    scenario: str
    sources: Sources
    engine: str
    precision: str
    max_latency_ms: float | None
    user_conf: Path | None
    budget_s: float
    trials: int | None
    short_s: float
    long_s: float
    rounds: int
    results: Path

    @property
    def home(self) -> Path:
        """Where the study, the tables and the pictures stand."""
        return self.results / "tune" / self.scenario.lower() / self.model.lower()
