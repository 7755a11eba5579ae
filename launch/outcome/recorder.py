"""Puts the record of a run together while the run goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import models
from base.checked import read
from launch.build.assets import Assets
from launch.machine.doctor.finding import Finding
from launch.machine.host import host, versions
from launch.machine.pinning import Pinning
from launch.machine.plan import Plan
from launch.machine.quiet import Disturbance
from launch.machine.topology import Topology
from launch.options import RunOptions
from launch.outcome.record.assets import AssetsRecord, DataRecord, WeightsRecord
from launch.outcome.record.history import history_after
from launch.outcome.record.machine import PinningRecord, PlanRecord, as_rows
from launch.outcome.record.measured import AccuracyRecord, MeasuredRecord, Missed, ResultRecord
from launch.outcome.record.options import OptionsRecord
from launch.outcome.record.processes import (
    BindingsRecord,
    DeathRecord,
    EngineRecord,
    PoisonRecord,
)
from launch.outcome.record.run import SCHEMA, Record, Timings
from launch.outcome.record.timeline import TimelineRecord
from launch.outcome.results import INTERRUPTED
from launch.supervise.deaths import alarm
from launch.supervise.environment import preloaded, recorded_environment
from launch.supervise.supervisor import Outcome
from loadrun.clock import Phase
from loadrun.report import Report

if TYPE_CHECKING:
    from launch.outcome.timekeeping import Timekeeping
    from loadrun.logs import LoadgenResult
    from models.task import Score


class Recorder:
    """Collects what run.json holds in `record`.

    Until the run has ended the status is INTERRUPTED, which is what a killed run then leaves.
    """

    def __init__(
        self, options: RunOptions, plan: Plan, pinning: Pinning, topology: Topology, run_id: str
    ) -> None:
        self._started = time.monotonic()
        self.record = Record(
            schema=SCHEMA,
            run_id=run_id,
            status=INTERRUPTED,
            error=None,
            command=options.command,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            options=options_record(options),
            task=models.get(options.model).name,
            benchmark=models.benchmark(options.model).name,
            plan=PlanRecord(**vars(plan)),
            pinning=PinningRecord(pinning.method, pinning.memory),
            host=host(topology),
            environment=recorded_environment(),
            preloaded=tuple(preloaded()),
            topology=as_rows(topology),
            versions=versions(),
            timings_s=Timings(),
        )

    def checks(self, findings: Sequence[Finding]) -> None:
        """What `loadrun doctor` finds of the machine, without what goes on on it."""
        self.record.checks = tuple(findings)

    def compared_with(self, run_ids: Mapping[str, str]) -> None:
        """The runs, by mode, that this one, an audit, is compared with."""
        self.record.compared_with = run_ids

    def prepared(self, assets: Assets) -> None:
        """Weights and data, whether any of it is synthetic; the notices of building."""
        weights, calibration = assets.weights, assets.calibration
        self.record.assets = AssetsRecord(
            data=DataRecord(**asdict(assets.samples.data), samples=assets.samples.count),
            labels_from=assets.truth,
            weights=WeightsRecord(**asdict(weights)) if weights else None,
            calibration=calibration.data.name if calibration else None,
            calibration_sha256=calibration.data.sha256 if calibration else None,
            notes=tuple(assets.notices),
            artifact=Path(assets.artifact).name if assets.artifact else None,
            synthetic=assets.samples.data.synthetic or bool(weights and weights.synthetic),
        )
        self._time(prepared=self._since())

    def disturbance(self, seen: Disturbance | None) -> None:
        """What others did while the run's processes ran; None where the system has no counters."""
        self._processes(disturbance=seen, not_quiet=tuple(seen.notices) if seen else ())

    def outcome(self, outcome: Outcome) -> None:
        """Bindings read back from the kernel, deaths, phases (seconds since processes started).

        `alarm` is what the deaths say of the result, `poison` the samples that ended the run.
        """
        poison = outcome.poison
        stops = (
            f"instance {index} was stopped for about {seconds:g} s; the figures may be too low"
            for index, seconds in outcome.stops
        )
        self._processes(
            bindings=BindingsRecord(
                outcome.loadrun_binding, {str(i): b for i, b in sorted(outcome.bindings.items())}
            ),
            deaths=tuple(DeathRecord(**asdict(death)) for death in outcome.deaths),
            alarm=alarm(outcome.deaths),
            poison=PoisonRecord(tuple(poison.samples), tuple(poison.files)) if poison else None,
            not_quiet=(*self.record.processes.not_quiet, *stops),
            removed_segments=tuple(outcome.removed_segments),
        )
        self._time(phases=outcome.phases_s)

    def engines(self, reports: Mapping[int, EngineRecord]) -> None:
        """What each instance reported of its engine when it was ready."""
        self._processes(engines={str(i): report for i, report in sorted(reports.items())})

    def history(self, earlier: Record | None) -> None:
        """Earlier runs, from the record of the one whose place this run takes."""
        self.record.history = history_after(earlier)

    def report(self, report: Report) -> None:
        """What the loadrun process reported: settings, rates (samples/s), instances, timeline.

        The engine `null` has no harness efficiency: its rate alone is beyond any target.
        """
        computes = self.record.options.engine != "null"
        self.record.measured = MeasuredRecord(
            settings=report.settings,
            target_source=report.target_source,
            expected_duration_s=report.expected_duration_s,
            duration_s=report.duration_s,
            instances=tuple(report.instances),
            standalone_rate=report.measured_rate,
            harness_efficiency=report.harness_efficiency if computes else None,
            redispatched_samples=report.redispatched,
            timeline=read(TimelineRecord, report.timeline) if report.timeline else None,
        )
        assets = self.record.assets
        self.record.assets = replace(assets, notes=(*assets.notes, *report.notes))
        self._time(loadrun=report.timings_s)

    def timekeeping(self, kept: Timekeeping, phases: Sequence[Phase]) -> None:
        """How clock and processes went on during the test, and what of it a person must know."""
        self.record.clock = tuple(phases)
        self.record.times_count = not kept.spoils
        self._processes(not_quiet=(*self.record.processes.not_quiet, *kept.notes))
        if kept.false_times:
            self.record.measured = replace(self.record.measured, harness_efficiency=None)

    def result(
        self, result: LoadgenResult, cures: list[tuple[str, str]], kept: Timekeeping
    ) -> None:
        """LoadGen's verdict and figures, but INVALID where its times do not count.

        Latencies that a false clock measured are left out: nothing is to be computed from them.
        """
        self.record.result = ResultRecord(
            valid=False if kept.spoils and result.valid is not None else result.valid,
            metric=result.metric,
            latencies_ns={} if kept.false_times else result.latencies_ns,
            invalid=tuple(Missed(reason, cure) for reason, cure in cures),
            errors=tuple(result.errors),
            warnings=tuple(result.warnings),
            fields=result.fields,
        )

    def accuracy(self, score: Score, metric: str, target: float | None) -> None:
        """Accuracy in the official wording; `target` is what a submission has to reach, percent."""
        self.record.accuracy = AccuracyRecord(
            text=score.line,
            value=score.value / 100,
            good=score.good,
            total=score.scored,
            target=None if target is None else target / 100,
            doubts=score.doubts,
            metric=metric,
        )

    def unofficial(self, reasons: Sequence[str]) -> None:
        """Why the result is not official; empty when nothing speaks against it."""
        self.record.official = not reasons
        self.record.unofficial_reasons = tuple(reasons)

    def end(self, status: str, error: str | None = None) -> None:
        """Set how the run ended."""
        self.record.status = status
        self.record.error = error
        self._time(total=self._since())

    def _since(self) -> float:
        """Seconds since the run's start."""
        return round(time.monotonic() - self._started, 3)

    def _time(self, **timings: object) -> None:
        self.record.timings_s = replace(self.record.timings_s, **timings)  # type: ignore[arg-type]

    def _processes(self, **values: object) -> None:
        self.record.processes = replace(self.record.processes, **values)  # type: ignore[arg-type]


def options_record(options: RunOptions) -> OptionsRecord:
    """The options of a run as its record holds them."""
    found: OptionsRecord = read(OptionsRecord, options.recorded())
    return found
