"""What the user asked of a tuning session, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import models
from base.options import count, positive, whole
from launch.options.declare import Options, nested, option, shared
from launch.options.run import RunOptions
from launch.options.sources import Sources

SEARCH, LIMITS = "search", "engine and limits"


@dataclass(frozen=True, kw_only=True)
class TuneOptions(Options):
    """One session; None leaves a choice to loadrun.

    `budget_min` bounds the session, `trials` the choices measured in it. `short_s` and `long_s` are
    the durations of the tests that prune and that count; `rounds` how often finalists are measured.
    """

    model: str = shared(RunOptions, "model")
    config_ver: str | None = shared(RunOptions, "config_ver", group=SEARCH)
    scenario: str = shared(RunOptions, "scenario", group=SEARCH)
    budget_min: float = option(
        "--budget MINUTES", "of this session (15)", SEARCH, positive, default=15.0
    )
    trials: int | None = option(
        "--trials N",
        "new choices of this session at most; 0 only repeats the finalists",
        SEARCH,
        whole,
    )
    short_s: float = option(
        "--short S", "seconds of a test that prunes (4)", SEARCH, positive, default=4.0
    )
    long_s: float = option("--long S", "of a test that counts (10)", SEARCH, positive, default=10.0)
    rounds: int = option("--rounds N", "repeats of the finalists (10)", SEARCH, count, default=10)
    engine: str = shared(
        RunOptions, "engine", "onednn (default for int8), pytorch, null or sim", LIMITS
    )
    precision: str = shared(RunOptions, "precision", group=LIMITS)
    max_latency_ms: float | None = shared(
        RunOptions,
        "max_latency_ms",
        "Server: latency limit in milliseconds; default: the official one",
        LIMITS,
    )
    user_conf: Path | None = shared(RunOptions, "user_conf", "LoadGen's user.conf", LIMITS)
    sources: Sources = nested(Sources)
    results: Path = shared(RunOptions, "results")

    @property
    def budget_s(self) -> float:
        """The bound of the session in s."""
        return 60 * self.budget_min

    @property
    def home(self) -> Path:
        """Where the study, the tables and the pictures stand."""
        return self.results / "tune" / self.scenario.lower() / models.label(self.model).lower()
