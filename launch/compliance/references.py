"""The runs that an audit run is compared with: performance and accuracy, or another audit.

`run` is the name of one: a mode's, or a compliance test's.
"""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from base.errors import RunError
from base.options import Goes
from launch.compliance.folder import LOGS
from launch.compliance.settings import ANSWERS_TEST, AUDITS, SAME_TEST, UNIQUE_TEST
from launch.options import RunOptions
from launch.outcome.record.run import Record, load
from launch.outcome.results import ACCURACY_LOG, COMPLETE, RUN_JSON, home, places
from loadrun.scenarios import ACCURACY_ONLY, PERFORMANCE_ONLY

PERFORMANCE, ACCURACY = PERFORMANCE_ONLY.name, ACCURACY_ONLY.name


def asked(record: Record, name: str) -> object:
    """Return an option of the run, by its name."""
    return record.options.value(name)


PLANNED: Mapping[str, Callable[[Record], object]] = {
    **{
        name.replace("_", " "): functools.partial(asked, name=name)
        for name in RunOptions.going(Goes.AUDIT)
    },
    "plan": lambda record: record.plan,
}
"""What two runs must share to be compared, as far as it stands before they run."""
SAME: Mapping[str, Callable[[Record], object]] = {
    **PLANNED,
    "artifact": lambda record: record.assets.artifact,
    "data": lambda record: record.assets.data,
    "weights": lambda record: record.assets.weights,
}
"""All that two runs must share to be compared."""
CURE = "choose another directory with --results, or move the file away"


def compared_with(test: str) -> tuple[str, ...]:
    """Return the runs that a test is held against; TEST01 holds answers, too."""
    if test == SAME_TEST:
        return (UNIQUE_TEST,)
    return (PERFORMANCE, ACCURACY) if test == ANSWERS_TEST else (PERFORMANCE,)


def options_of(options: RunOptions, run: str) -> RunOptions:
    """Return the options of a run, otherwise like `options`."""
    if run in AUDITS:
        return replace(options, mode=PERFORMANCE, audit=run)
    return replace(options, mode=run, audit=None)


def find_reference(options: RunOptions, run: str) -> Record | None:
    """Return the record of the newest complete run of that name, None where there is none.

    Raises InputError for a run.json that is none of a run.
    """
    path = place(options, run) / RUN_JSON
    if not path.exists():
        return None
    record = load(path, CURE)
    return record if record.status == COMPLETE else None


def reference_ids(audit: RunOptions) -> dict[str, str]:
    """Return the ids, by name, of the runs that the audit run of `audit` is compared with."""
    assert audit.audit is not None
    found = {run: find_reference(audit, run) for run in compared_with(audit.audit)}
    return {run: record.run_id for run, record in found.items() if record is not None}


def place(options: RunOptions, run: str) -> Path:
    """Return where the results of a run of that name stand."""
    where = home(options.results, options.scenario, options.model)
    wanted = options_of(options, run)
    return places(where, wanted.mode, wanted.audit)[0]


def at_same_load(audit: RunOptions) -> RunOptions:
    """Return the options of a compliance test with the expected rate of what it is compared with.

    A rate that is measured anew would compare the tests of two loads.
    """
    assert audit.audit is not None
    reference = find_reference(audit, compared_with(audit.audit)[0])
    return replace(audit, reference_qps=_qps(reference) if reference else None)


def _qps(record: Record) -> float | None:
    """The expected rate of a run in the unit of --qps, None where it has none."""
    target = record.measured.setting(record.scenario.target.setting)
    if not target:
        return None
    return 1e9 / target if record.scenario.one_by_one else float(target)


def difference(
    reference: Record, other: Record, facts: Mapping[str, Callable[[Record], object]] = SAME
) -> str | None:
    """Return in what two runs that are to be compared differ first; None where in nothing."""
    for name, fact in facts.items():
        had, has = fact(reference), fact(other)
        if had != has:
            return f"another {name} ({had}, now {has})"
    return None


def may_be_short(run: str) -> bool:
    """Whether a run is INVALID by rights: too short, as it has every sample once."""
    return run == UNIQUE_TEST


def unusable(options: RunOptions, run: str) -> str:
    """Return why there is no run of that name to compare with, "" where there is one.

    A run that is INVALID, lacks its logs or had another rate than the user now gives is none: no
    audit can pass against it.
    """
    record = find_reference(options, run)
    if record is None:
        return "there is no complete one"
    if record.result is not None and record.result.valid is False and not may_be_short(run):
        return "the one that is there is INVALID"
    if record.doubtful:
        return "the accuracy of the one that is there means nothing"
    where = place(options, run)
    logs = (*LOGS, ACCURACY_LOG) if run == ACCURACY else LOGS
    gone = next((name for name in logs if not (where / name).is_file()), None)
    if gone is not None:
        return f"the one that is there is without its {gone}"
    if run != ACCURACY and options.qps is not None:
        had = _qps(record)
        if had is not None and not math.isclose(had, options.qps, rel_tol=1e-3):
            return f"the one that is there had a rate of {had:.6g}, not {options.qps:g}"
    return ""


def check_same(reference: Record | None, audited: Record | None, where: Path, cure: str) -> None:
    """Raise RunError that names the first thing in which the two runs differ."""
    if reference is None or audited is None:
        raise RunError(f"{where}: no longer holds a complete run to compare with; {cure}")
    differs = difference(reference, audited)
    if differs is not None:
        raise RunError(f"{where}: that run had {differs}; {cure}")


def command(options: RunOptions, run: str) -> str:
    """Return the command that makes the run of that name anew, as the user gave the audit's."""
    _, name, *words = (*options.command, "", "")
    if name != "audit":
        name = "run"
        words = RunOptions.asking(model=options.model, scenario=options.scenario)
    kept: list[str] = []
    previous = ""
    for word in words:
        if word and word != "--tests" and not word.startswith("--tests=") and previous != "--tests":
            kept.append(word)
        previous = word
    if run in AUDITS:
        kept += RunOptions.asking(audit=run)
    elif run != PERFORMANCE:
        kept += RunOptions.asking(mode=run)
    return shlex.join(["loadrun", "run", *kept])
