"""The performance and the accuracy run that an audit run is compared with."""

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
from launch.compliance.settings import ANSWERS_TEST
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
    """Return the modes of the runs that a test is held against; TEST01 holds answers, too."""
    return (PERFORMANCE, ACCURACY) if test == ANSWERS_TEST else (PERFORMANCE,)


def find_reference(options: RunOptions, mode: str) -> Record | None:
    """Return the record of the newest complete run of that mode, None where there is none.

    Raises InputError for a run.json that is none of a run.
    """
    path = place(options, mode) / RUN_JSON
    if not path.exists():
        return None
    record = load(path, CURE)
    return record if record.status == COMPLETE else None


def reference_ids(audit: RunOptions) -> dict[str, str]:
    """Return the run ids, by mode, of the runs that the audit run of `audit` is compared with."""
    assert audit.audit is not None
    found = {
        mode: find_reference(replace(audit, mode=mode, audit=None), mode)
        for mode in compared_with(audit.audit)
    }
    return {mode: record.run_id for mode, record in found.items() if record is not None}


def place(options: RunOptions, mode: str) -> Path:
    """Return where results of that mode stand; those of an audit where `options` are of one."""
    where = home(options.results, options.scenario, options.model)
    return places(where, mode, options.audit)[0]


def at_same_load(audit: RunOptions) -> RunOptions:
    """Return the options of a compliance test with the expected rate of its performance run.

    A rate that is measured anew would compare the tests of two loads.
    """
    reference = find_reference(replace(audit, audit=None), PERFORMANCE)
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


def unusable(options: RunOptions, mode: str) -> str:
    """Return why there is no run of that mode to compare with, "" where there is one.

    A run that is INVALID, lacks its logs or had another rate than the user now gives is none: no
    audit can pass against it.
    """
    record = find_reference(options, mode)
    if record is None:
        return "there is no complete one"
    if record.result is not None and record.result.valid is False:
        return "the one that is there is INVALID"
    if record.doubtful:
        return "the accuracy of the one that is there means nothing"
    where = place(options, mode)
    logs = (*LOGS, ACCURACY_LOG) if mode == ACCURACY else LOGS
    gone = next((name for name in logs if not (where / name).is_file()), None)
    if gone is not None:
        return f"the one that is there is without its {gone}"
    if mode == PERFORMANCE and options.qps is not None:
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


def command(options: RunOptions, mode: str) -> str:
    """Return the command that makes the run of that mode anew, as the user gave the audit's."""
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
    if mode != PERFORMANCE:
        kept += RunOptions.asking(mode=mode)
    return shlex.join(["loadrun", "run", *kept])
