"""One `loadrun run` as a step of something larger: a search for a configuration or a rate."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode, InputError, InterruptedRunError, RunError
from base.files import write_text
from base.text import read_given
from launch.options import RunOptions
from launch.outcome.record.run import Record, load
from launch.outcome.results import RUN_JSON, home, places
from launch.supervise.environment import base_environment
from launch.supervise.processes import describe_end, end_all, error_line, start
from launch.supervise.signals import Signals
from loadrun.scenarios import PERFORMANCE_ONLY, SCENARIOS
from loadrun.user_conf import UserConfError, parse_user_conf

POLL_S = 0.5
TRIES = 3
"""A test whose clock was set, or that stood still, is no answer: it is repeated."""
LEAVE_S = 15.0


def run_once(
    model: str,
    scenario: str,
    words: Sequence[str],
    directory: Path,
    signals: Signals,
    mode: str = PERFORMANCE_ONLY.name,
) -> Record:
    """Run a test below `directory` (emptied before) and return its record.

    VALID or not, a test that completed is an answer, unless its times do not count: then it is
    repeated, and RunError in the end. InterruptedRunError when the user ended it, InputError and
    RunError with the run's last lines.
    """
    for _ in range(TRIES):
        record = _run(model, scenario, words, directory, signals, mode)
        if record.times_count is not False:
            return record
    reasons = [missed.reason for missed in record.result.invalid] if record.result else []
    raise RunError(
        f"{TRIES} tests one after the other whose times do not count: {', '.join(reasons[:1])}"
    )


def _run(
    model: str,
    scenario: str,
    words: Sequence[str],
    directory: Path,
    signals: Signals,
    mode: str,
) -> Record:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    results = directory / "results"
    asked = RunOptions.asking(model=model, scenario=scenario, mode=mode, results=results)
    command = [sys.executable, "-m", "launch.cli", "run", *asked, *words]
    log = directory / "run.log"
    child = start("run", command, log=log, environment=base_environment())
    try:
        while child.ended() is None and signals.ending is None:
            signals.wait(POLL_S)
    finally:
        end_all([child], signals, patience_s=LEAVE_S)
    if signals.ending is not None:
        raise InterruptedRunError(f"interrupted by {signals.ending.name}")
    code = child.ended()
    if code not in (ExitCode.OK, ExitCode.INVALID):
        last_words = child.last_words()
        if code == ExitCode.USAGE:
            raise InputError(error_line(last_words) or last_words)
        raise RunError(
            f"{' '.join(command[2:])} {describe_end(code or 0)}; its last lines:\n{last_words}"
        )
    (place, *_) = places(home(results, scenario, model), mode)
    return load(place / RUN_JSON, "run again")


def without_targets(
    user_conf: Path | None, model: str, scenario: str, directory: Path
) -> Path | None:
    """Return a copy of user.conf, in `directory`, that expects no rate: trials look for one.

    What was set for another machine would make them last for hours, or end at once. `model` is
    MLPerf's name. None where there is no user.conf; raises InputError for one that is wrong.
    """
    if user_conf is None or not user_conf.exists():
        return None
    try:
        entries = parse_user_conf(user_conf, models=(model,)).entries
    except UserConfError as error:
        raise InputError(str(error)) from None
    expected = {"target_qps", SCENARIOS[scenario].target.key}
    dropped = {entry.line for entry in entries if entry.key in expected}
    lines = read_given(user_conf).splitlines()
    kept = [line for number, line in enumerate(lines, 1) if number not in dropped]
    copy = directory / "user.conf"
    write_text(copy, "\n".join([*kept, ""]))
    return copy
