"""Runs a series: prepares everything, then one step after the other, whatever becomes of each."""

from __future__ import annotations

import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from base.errors import ExitCode, InputError, InterruptedRunError, LoadrunError
from launch.build.alone import file_lines
from launch.build.assets import Assets
from launch.build.engine import check_engine
from launch.build.prepare import prepare
from launch.compliance.audit import audit
from launch.compliance.folder import folder_of
from launch.compliance.references import find_reference, place
from launch.machine.topology import read_topology
from launch.options import RunOptions
from launch.outcome.record.run import Record
from launch.outcome.results import file_abandoned
from launch.run import plan_for, run
from launch.screen.terminal import Terminal
from launch.series.ledger import Ended, Ledger
from launch.series.steps import Step
from launch.series.table import show_table
from launch.submission.present import Present
from launch.supervise.signals import Signals

FAILED = "failed"


class Unattended(Terminal):
    """One that asks nothing: the next run waits, and perhaps nobody is there."""

    @property
    def answers(self) -> bool:
        """No."""
        return False


@dataclass(frozen=True)
class Series:
    """The steps, what was left out and why; `rerun` also runs what is there."""

    steps: list[Step]
    left_out: list[str]
    results: Path
    command: tuple[str, ...]
    rerun: bool
    dry_run: bool
    prepare_only: bool


def run_all(series: Series) -> ExitCode:
    """Prepare, run, show a table; 4 where a step failed, 3 where one is INVALID or did not pass."""
    terminal = Unattended()
    if not series.dry_run:
        # What a killed run had finished counts.
        file_abandoned(series.results)
    ledger = Ledger.find(series.results, series.steps, series.command)
    if series.rerun:
        ledger.ended.clear()
    waiting = [step for step in series.steps if not _is_there(step, ledger)]
    _show_plan(series, waiting, terminal)
    if series.dry_run:
        return ExitCode.OK
    unprepared = _prepare(waiting, terminal)
    if series.prepare_only:
        return _worst(list(unprepared.values()))
    for number, step in enumerate(waiting, 1):
        terminal.line()
        terminal.line(f"[{number}/{len(waiting)}] {step.subject}")
        ended = unprepared.get(step.subject) or _execute(step, terminal)
        if ended.message:
            terminal.line(f"{step.subject}: {ended.message}")
        try:
            ledger.note(step, ended)
        except OSError as error:
            raise InputError(f"{ledger.path}: {error.strerror} (--results)") from None
    terminal.line()
    rows = [(step, ledger.ended[step.subject]) for step in series.steps]
    show_table(terminal, rows)
    terminal.lines(f"left out: {line}" for line in series.left_out)
    code = _worst([ended for _, ended in rows])
    if code is not ExitCode.OK:
        terminal.line("the same command runs again what did not pass, --rerun all of it")
    return code


def _is_there(step: Step, ledger: Ledger) -> bool:
    """Whether a step passed in an earlier call, and what it left is still that of now."""
    ended = ledger.ended.get(step.subject)
    if ended is None or not ended.passed:
        return False
    options = step.options
    if step.tests:
        names = (options.results, options.model, options.scenario)
        return all(folder_of(*names, test).is_dir() for test in step.tests)
    try:
        record = find_reference(options, options.mode)
        return (
            record is not None
            and record.run_id == ended.run_id
            and not Present(options).mismatch(record)
        )
    except LoadrunError:
        return False


def _show_plan(series: Series, waiting: list[Step], terminal: Terminal) -> None:
    terminal.line(f"{len(series.steps)} to run, {len(series.steps) - len(waiting)} there already")
    for step in series.steps:
        options = step.options
        state = f"{options.engine}, {options.precision}" if step in waiting else "there"
        terminal.line(f"  {step.subject:<48} {state}")
    terminal.lines(f"  left out: {line}" for line in series.left_out)


def _prepare(steps: list[Step], terminal: Terminal) -> dict[str, Ended]:
    """Build what the steps need and say where it is; returns those that could not be prepared."""
    failed: dict[str, Ended] = {}
    shown: set[str] = set()
    for step in steps:
        try:
            assets = _assets(step.options, terminal)
        except InterruptedRunError:
            raise
        except LoadrunError as error:
            failed[step.subject] = Ended(code=error.code, verdict=FAILED, message=str(error))
            terminal.line(f"{step.subject}: cannot be prepared: {error}")
            continue
        lines = file_lines(assets, step.options.precision)
        if assets.artifact is not None and assets.artifact not in shown:
            shown.add(assets.artifact)
            terminal.line(f"prepared: {step.options.model} {step.options.scenario}")
            terminal.lines(f"  {line}" for line in lines)
    return failed


def _assets(options: RunOptions, terminal: Terminal) -> Assets:
    check_engine(options.engine)
    processors = plan_for(options, read_topology()).instances[0].processors
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="loadrun-") as directory:
        return prepare(options, processors, Path(directory), terminal, signals)


def _execute(step: Step, terminal: Terminal) -> Ended:
    try:
        if step.tests:
            code = audit(step.options, list(step.tests), terminal)
        else:
            code = run(step.options, terminal)
        return _ended(step, code)
    except InterruptedRunError:
        raise
    except LoadrunError as error:
        return Ended(code=error.code, verdict=FAILED, message=str(error))
    except Exception as error:  # a fault of one run is none of the others
        traceback.print_exc()
        return Ended(code=ExitCode.FAILED, verdict=FAILED, message=repr(error))


def _ended(step: Step, code: ExitCode) -> Ended:
    options = step.options
    if step.tests:
        folder = folder_of(options.results, options.model, options.scenario, step.tests[0]).parent
        passed = code is ExitCode.OK
        return Ended(code=code, verdict="PASS" if passed else "FAIL", place=str(folder))
    where = place(options, options.mode)
    record = find_reference(options, options.mode)
    assert record is not None
    return Ended(
        code=code,
        verdict="VALID" if code is ExitCode.OK else "INVALID",
        result=_figure(record),
        accuracy=_accuracy(record),
        place=str(where),
        run_id=record.run_id,
    )


def _figure(record: Record) -> str:
    metric = record.result.metric if record.result else None
    return f"{metric.value:.6g} {metric.unit}" if metric is not None else ""


def _accuracy(record: Record) -> str:
    found = record.accuracy
    if found is None:
        return ""
    text = f"{found.metric} {100 * found.value:.3f}%"
    if found.target is None:
        return text
    reached = "reached" if found.value >= found.target else "missed"
    return f"{text} (target {100 * found.target:.3f}%: {reached})"


def _worst(ended: list[Ended]) -> ExitCode:
    """4 where a step could not run or failed, 3 where one has no valid result, else 0."""
    if any(one.verdict == FAILED for one in ended):
        return ExitCode.FAILED
    return ExitCode.INVALID if any(not one.passed for one in ended) else ExitCode.OK
