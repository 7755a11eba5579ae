"""The runs that a submission consists of, and which of them are there already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import models
from base.errors import InputError
from launch.compliance.folder import LOGS, folder_of, logs_in
from launch.compliance.metric import metric_held
from launch.compliance.references import (
    ACCURACY,
    PERFORMANCE,
    compared_with,
    difference,
    find_reference,
    options_of,
    place,
)
from launch.compliance.rules import PASS
from launch.compliance.settings import UNIQUE_TEST
from launch.configs import overrides
from launch.options import RunOptions
from launch.outcome.record.run import Record
from launch.outcome.results import ACCURACY_LOG
from launch.submission.present import Present
from loadrun.scenarios import SCENARIOS

OFFICIAL_S = 600.0
"""Least seconds of an official performance test."""
AROUND_S = 10.0
"""What preparing, warming up and writing add to a test, in s."""
NOT_JUDGED = "not judged"
"""An audit run is there, and only its verdict is missing."""


@dataclass(frozen=True)
class Step:
    """One run; `options` are those of the test it is compared with where it is an audit.

    `missing` says why it has to run, "" where it is there.
    """

    options: RunOptions
    missing: str

    @property
    def name(self) -> str:
        """What runs: a mode, or a compliance test."""
        return self.options.audit or self.options.mode

    @property
    def subject(self) -> str:
        """Model, scenario and what runs."""
        return f"{self.options.model} {self.options.scenario} {self.name}"


def find_steps(options: RunOptions, tests: tuple[str, ...]) -> list[Step]:
    """Return the runs of one model and scenario, in the order in which they are to run."""
    present = Present(options)
    performance = replace(options, mode=PERFORMANCE)
    reference = find_reference(performance, PERFORMANCE)
    why = present.why_not(reference, PERFORMANCE) or present.other_target(reference)
    steps = [Step(performance, why or _gone(performance, LOGS))]
    accuracy = replace(options, mode=ACCURACY)
    measured = find_reference(accuracy, ACCURACY)
    why = present.why_not(measured, ACCURACY) or _unlike(reference, measured)
    steps.append(Step(accuracy, why or _gone(accuracy, (*LOGS, ACCURACY_LOG))))
    found = {PERFORMANCE: reference, ACCURACY: measured}
    for test in tests:
        audit = options_of(options, test)
        record = found[test] = find_reference(options, test)
        missing = present.why_not(record, test) or _unlike(reference, record)
        others = compared_with(test)
        missing = missing or _gone(audit, (*LOGS, ACCURACY_LOG) if ACCURACY in others else LOGS)
        if not missing and any(step.missing for step in steps if step.name in others):
            missing = "what it is compared with is made anew"
        missing = missing or _verdict(audit, [found[name] for name in others], record)
        if missing == NOT_JUDGED and test == UNIQUE_TEST:
            missing = ""  # the other one of the pair is judged
        steps.append(Step(audit, missing))
    return steps


def estimate_s(step: Step, rate: float | None, samples: int | None) -> float | None:
    """Return how long a run takes, in s; None where it cannot be estimated.

    `rate` is samples/s of the model on this machine and `samples` the size of the data set, as far
    as they are known.
    """
    if step.missing == NOT_JUDGED:
        return 0.0
    if step.options.mode == ACCURACY:
        return None if rate is None or samples is None else AROUND_S + samples / rate
    changed = overrides(step.options)
    if changed.min_duration_s == 0:
        count = changed.min_query_count
        return None if rate is None or count is None else AROUND_S + count / rate
    return AROUND_S + (OFFICIAL_S if changed.min_duration_s is None else changed.min_duration_s)


def _gone(options: RunOptions, logs: Iterable[str]) -> str:
    where = place(options, options.audit or options.mode)
    missing = next((name for name in logs if not (where / name).is_file()), None)
    return f"without its {missing}" if missing else ""


def _unlike(reference: Record | None, record: Record | None) -> str:
    if reference is None or record is None:
        return ""
    differs = difference(reference, record)
    return f"the performance run has {differs}" if differs else ""


def _verdict(audit: RunOptions, references: list[Record | None], record: Record | None) -> str:
    """Return why an audit run does not stand for a test passed, "" where it does."""
    assert audit.audit is not None
    for reference in references:
        if reference is None or record is None or _precedes(record, reference):
            return "older than what it is compared with"
    folder = folder_of(audit.results, audit.model, audit.scenario, audit.audit)
    run = place(audit, audit.audit)
    try:
        verdicts = {
            path.name: PASS in path.read_text(encoding="utf-8")
            for path in folder.glob("verify_*.txt")
        }
        # A verdict that was left behind is on other logs.
        same = all(
            (logs_in(folder) / name).read_bytes() == (run / name).read_bytes() for name in LOGS
        )
    except OSError:
        verdicts, same = {}, False
    if not verdicts or not same:
        return NOT_JUDGED
    if metric_held(folder / "accuracy", models.benchmark(audit.model)):
        # The verdict on the answers says that they differ, as it must.
        verdicts.pop("verify_accuracy.txt", None)
    return "" if all(verdicts.values()) else "FAIL"


def _precedes(record: Record, reference: Record) -> bool:
    """Whether an audit run came before the run that it is now compared with.

    Run ids show it; records of earlier versions have the times alone, which a clock can change.
    """
    known = record.compared_with
    if known is not None:
        return reference.run_id not in known.values()
    return record.started < reference.started


def known_rate(options: RunOptions) -> float | None:
    """Return samples/s of the model as an earlier run here measured it, None where none did."""
    for scenario in reversed(SCENARIOS):
        for mode in (PERFORMANCE, ACCURACY):
            with contextlib.suppress(InputError):  # it is only an estimate
                record = find_reference(replace(options, scenario=scenario), mode)
                if record is not None and record.measured.standalone_rate:
                    return record.measured.standalone_rate
    return None
