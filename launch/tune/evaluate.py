"""Measures a choice by real runs of `loadrun run`."""

from __future__ import annotations

from pathlib import Path

import models
from launch.options import RunOptions
from launch.outcome.record.run import Record
from launch.qps.search import search_peak
from launch.supervise.signals import Signals
from launch.trial import run_once, without_targets
from launch.tune.options import TuneOptions
from launch.tune.space import Choice
from loadrun.scenarios import SCENARIOS, SERVER

PREPARE_S = 0.5
GROWTH, PRECISION, MOST = 1.2, 0.06, 6
"""Server, short: how a rate within the limit is looked for."""
LONG_GROWTH, LONG_PRECISION, LONG_MOST = 1.06, 0.03, 5


class RunEvaluator:
    """Runs a choice; `runs` counts the tests."""

    def __init__(self, options: TuneOptions, directory: Path, signals: Signals) -> None:
        self._options = options
        self._directory = directory
        self._signals = signals
        model = models.benchmark(options.model).conf
        self._conf = without_targets(options.user_conf, model, options.scenario, directory)
        self._peaks: dict[Choice, float] = {}
        self.runs = 0

    def prepare(self, choice: Choice) -> None:
        """Run once without looking at the figure: samples, weights and artifact are there then."""
        self._run(choice, PREPARE_S)

    def measure(self, choice: Choice, *, long: bool, goal: float | None) -> float:
        """Return samples/s, the highest queries/s within the limit, or queries/s by latency."""
        options, scenario = self._options, SCENARIOS[self._options.scenario]
        if scenario.scheduled:
            return self._server(choice, long, goal)
        record = self._run(choice, options.long_s if long else options.short_s)
        metric = record.result.metric if record.result else None
        value = metric.value if metric else 0.0
        if scenario.at_once or value <= 0:
            return value
        return 1e3 / value

    def _server(self, choice: Choice, long: bool, goal: float | None) -> float:
        seconds = self._options.long_s if long else self._options.short_s
        known: dict[float, bool] = {}
        start = self._peaks.get(choice) or max(self._peaks.values(), default=0.0)
        if not start:
            record = self._run(choice, seconds)
            start = record.measured.target(SERVER)
            known[start] = within_limit(record)

        def holds(qps: float, seconds: float) -> bool:
            if qps not in known:
                known[qps] = within_limit(self._run(choice, seconds, qps))
            return known[qps]

        peak = search_peak(
            holds,
            start,
            durations=(seconds,),
            precision=LONG_PRECISION if long else PRECISION,
            growth=LONG_GROWTH if long else GROWTH,
            least=0.7 * goal if goal else 0.02 * start,
            most=LONG_MOST if long else MOST,
        )
        if peak.qps is None:
            return 0.0
        self._peaks[choice] = peak.qps
        return peak.qps

    def _run(self, choice: Choice, seconds: float, qps: float | None = None) -> Record:
        options = self._options
        words = RunOptions.asking(
            **choice.options(),
            sources=options.sources,
            tuned=False,
            fast=True,
            time_s=seconds,
            engine=options.engine,
            precision=options.precision,
            max_latency_ms=options.max_latency_ms,
            user_conf=self._conf,
            qps=None if qps is None else float(f"{qps:.6g}"),
        )
        self.runs += 1
        directory = self._directory / "run"
        return run_once(options.model, options.scenario, words, directory, self._signals)


def within_limit(record: Record) -> bool:
    """Whether a test held its latency limit, VALID or not."""
    return record.result is not None and record.result.within_limit
