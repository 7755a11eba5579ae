"""run.json: one record of a run, whatever became of it."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.build.assets import Assets
from launch.machine.doctor.finding import Finding
from launch.machine.host import host, versions
from launch.machine.pinning import Binding, Pinning
from launch.machine.plan import Plan
from launch.machine.quiet import Disturbance
from launch.machine.topology import Topology
from launch.options import RunOptions
from launch.outcome.results import INTERRUPTED
from launch.report.history import history_after
from launch.report.machine import as_rows
from launch.supervise.deaths import alarm
from launch.supervise.environment import preloaded, recorded_environment
from launch.supervise.supervisor import Outcome

if TYPE_CHECKING:
    from launch.outcome.timekeeping import Timekeeping
    from loadrun.logs import LoadgenResult
    from models.imagenet.accuracy import Accuracy

SCHEMA = 1


class Record:
    """Collects what run.json holds; `values` is that, ready for JSON.

    Until the run has ended the status is INTERRUPTED, which is what a killed run then leaves.
    """

    def __init__(
        self, options: RunOptions, plan: Plan, pinning: Pinning, topology: Topology, run_id: str
    ) -> None:
        self._started = time.monotonic()
        self.values: dict[str, Any] = {
            "schema": SCHEMA,
            "run_id": run_id,
            "status": INTERRUPTED,
            "error": None,
            "command": list(options.command),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            **options.recorded(),
            "plan": plan.as_json(),
            "pinning": {"method": pinning.method, "memory": pinning.memory},
            "host": host(topology),
            "environment": recorded_environment(),
            "preloaded": preloaded(),
            "topology": as_rows(topology),
            "versions": versions(),
            "timings_s": {},
        }

    def checks(self, findings: list[Finding]) -> None:
        """What `loadrun doctor` finds of the machine, without what goes on on it."""
        self.values["checks"] = [asdict(finding) for finding in findings]

    def disturbance(self, seen: Disturbance | None) -> None:
        """What others did while the run's processes ran; None where the system does not tell."""
        self.values["disturbance"] = seen.as_json() if seen else None
        self.values["not_quiet"] = seen.notices if seen else []

    def lap(self, name: str) -> None:
        """Note the seconds since the run's start under `name`."""
        self.values["timings_s"][name] = round(time.monotonic() - self._started, 3)

    def assets(self, assets: Assets) -> None:
        """Weights and data, whether any of it is synthetic; what was told while it was built."""
        self.values["data"] = {**asdict(assets.samples.data), "samples": assets.samples.count}
        self.values["labels_from"] = assets.labels_from
        self.values["weights"] = asdict(assets.weights) if assets.weights else None
        calibration = assets.calibration.data if assets.calibration else None
        self.values["calibration"] = calibration.name if calibration else None
        self.values["calibration_sha256"] = calibration.sha256 if calibration else None
        self.values["notes"] = assets.notices
        self.values["artifact"] = Path(assets.artifact).name if assets.artifact else None
        self.values["synthetic"] = assets.samples.data.synthetic or bool(
            assets.weights and assets.weights.synthetic
        )

    def outcome(self, outcome: Outcome) -> None:
        """Bindings read back from the kernel, deaths, phases (seconds since processes started).

        `alarm` is what the deaths say of the result, `poison` the samples that ended the run.
        """
        self.values["bindings"] = {
            "loadrun": _binding(outcome.loadrun_binding),
            "instances": {str(i): _binding(b) for i, b in sorted(outcome.bindings.items())},
        }
        self.values["deaths"] = [asdict(death) for death in outcome.deaths]
        self.values["alarm"] = alarm(outcome.deaths)
        self.values["poison"] = outcome.poison.as_json() if outcome.poison else None
        self.values["not_quiet"] += [
            f"instance {index} was stopped for about {seconds:g} s; the figures may be too low"
            for index, seconds in outcome.stops
        ]
        self.values["removed_segments"] = outcome.removed_segments
        self.values["timings_s"]["phases"] = outcome.phases_s

    def history(self, earlier: dict[str, Any] | None) -> None:
        """Earlier runs, from the run.json of the one whose place this run takes."""
        self.values["history"] = history_after(earlier)

    def report(self, report: dict[str, Any]) -> None:
        """What the loadrun process reported: settings, rates (samples/s), instances, timeline.

        The engine `null` has no harness efficiency: its rate alone is beyond what is asked of it.
        """
        self.values["settings"] = report["settings"]
        self.values["target_source"] = report["target_source"]
        self.values["expected_duration_s"] = report["expected_duration_s"]
        self.values["duration_s"] = report["duration_s"]
        self.values["instances"] = report["instances"]
        self.values["standalone_rate"] = report["measured_rate"]
        computes = self.values["engine"] != "null"
        self.values["harness_efficiency"] = report["harness_efficiency"] if computes else None
        self.values["redispatched_samples"] = report["redispatched"]
        self.values["notes"] = [*self.values.get("notes", ()), *report["notes"]]
        self.values["timings_s"]["loadrun"] = report["timings_s"]
        self.values["timeline"] = report.get("timeline")

    def engines(self, reports: dict[int, dict[str, Any]]) -> None:
        """What each instance said of its engine when it was ready."""
        self.values["engines"] = {str(i): report for i, report in sorted(reports.items())}

    def timekeeping(self, kept: Timekeeping, phases: list[dict[str, Any]]) -> None:
        """How clock and processes went on during the test, and what of it a person must know."""
        self.values["clock"] = phases
        self.values["times_count"] = not kept.spoils
        self.values["not_quiet"] += kept.notes
        if kept.false_times:
            self.values["harness_efficiency"] = None

    def result(
        self, result: LoadgenResult, cures: list[tuple[str, str]], kept: Timekeeping
    ) -> None:
        """LoadGen's verdict and figures, but INVALID where its times do not count.

        Latencies that a false clock measured are left out: nothing is to be computed from them.
        """
        self.values["result"] = {
            "valid": False if kept.spoils and result.valid is not None else result.valid,
            "metric": asdict(result.metric) if result.metric else None,
            "latencies_ns": {} if kept.false_times else result.latencies_ns,
            "invalid": [{"reason": reason, "cure": cure} for reason, cure in cures],
            "errors": result.errors,
            "warnings": result.warnings,
            "fields": result.fields,
        }

    def accuracy(self, accuracy: Accuracy, target: float | None, doubts: list[str]) -> None:
        """Accuracy in the official wording; `target` is what a submission has to reach (0..1).

        `doubts` are the reasons why it means nothing.
        """
        self.values["accuracy"] = {
            "text": str(accuracy),
            "value": accuracy.value,
            "good": accuracy.good,
            "total": accuracy.total,
            "target": target,
            "doubts": doubts,
        }

    @property
    def doubtful(self) -> bool:
        """Whether an accuracy was measured that means nothing."""
        return bool((self.values.get("accuracy") or {}).get("doubts"))

    def unofficial(self, reasons: list[str]) -> None:
        """Why the result is not official; empty when nothing speaks against it."""
        self.values["official"] = not reasons
        self.values["unofficial_reasons"] = reasons

    def end(self, status: str, error: str | None = None) -> None:
        """Set how the run ended."""
        self.values["status"] = status
        self.values["error"] = error
        self.lap("total")


def _binding(binding: Binding | None) -> dict[str, Any] | None:
    return asdict(binding) if binding else None
