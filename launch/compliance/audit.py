"""Runs compliance tests, what they are compared with first where it is missing, and judges them."""

from __future__ import annotations

from pathlib import Path

import models
from base.errors import ExitCode, InputError, RunError
from launch.build.prepare import task_sources
from launch.compliance.folder import folder_of, write_folder
from launch.compliance.metric import verify_metric
from launch.compliance.references import (
    ACCURACY,
    at_same_load,
    check_same,
    command,
    compared_with,
    find_reference,
    may_be_short,
    options_of,
    place,
    unusable,
)
from launch.compliance.rules import Verdict, verify_answers, verify_performance
from launch.compliance.settings import SAME_TEST, UNIQUE_TEST
from launch.options import RunOptions
from launch.outcome.record.run import Record
from launch.outcome.results import ACCURACY_LOG, RESULTS, RUN_JSON
from launch.outcome.room import describe_error
from launch.outcome.writable import try_folder
from launch.run import run
from launch.screen.terminal import Terminal
from launch.submission.present import Present
from loadrun.logs import LogError, parse_result


def audit(options: RunOptions, tests: list[str], outlet: Terminal | None = None) -> ExitCode:
    """Run what the tests lack, then each of `tests`; exit code 3 where one failed.

    `outlet` is where verdicts go, standard output by default.
    """
    results = outlet or Terminal()
    terminal = Terminal.silent() if options.quiet else results
    _try_writing(options, tests)
    _run_references(options, tests, terminal)
    passed = {}
    for test in tests:
        terminal.line()
        terminal.line(f"{test}:")
        _run_audit(options, test, terminal)
        # The pair of TEST04 has one verdict.
        if test != UNIQUE_TEST:
            passed[test] = judge(options, test, terminal, results)
    terminal.line()
    for test, good in passed.items():
        results.line(f"{test}: {'PASS' if good else 'FAIL'}")
    return ExitCode.OK if all(passed.values()) else ExitCode.INVALID


def _run_audit(options: RunOptions, test: str, terminal: Terminal) -> None:
    audited = options_of(options, test)
    run(audited if options.qps else at_same_load(audited), terminal)


def _run_references(options: RunOptions, tests: list[str], terminal: Terminal) -> None:
    needed = dict.fromkeys(name for test in tests for name in compared_with(test))
    # Those that are tests are run in their turn.
    names = [name for name in needed if name not in tests]
    present = Present(options)
    for name in names:
        # Before anything runs: each run takes minutes.
        reference = find_reference(options, name)
        if reference is None or unusable(options, name):
            continue
        if differs := present.mismatch(reference):
            where = place(options, name) / RUN_JSON
            raise InputError(f"{where}: that run is {differs}; {_anew(options, name)}")
    for name in names:
        where = place(options, name)
        why = unusable(options, name)
        if not why:
            terminal.line(f"compared with the {name} run in {where}")
            continue
        terminal.line(f"the {name} run comes first: {why} in {where}")
        if may_be_short(name):
            _run_audit(options, name, terminal)
        elif run(options_of(options, name), terminal) is not ExitCode.OK:
            raise InputError(
                f"the {name} run is INVALID, so that there is nothing to compare with:"
                f" {_first_reason(find_reference(options, name))}"
            )


def _verify_performance(
    test: str,
    reference: Record | None,
    audited: Record | None,
    where: Path,
    measured: Path,
) -> Verdict:
    """Compare two runs by their logs, unless loadrun found their times false (run.json)."""
    # The pair of TEST04 ends before it could be VALID.
    judged = () if test == SAME_TEST else (("performance", reference), ("audit", audited))
    for name, record in judged:
        if record is not None and record.result is not None and record.result.valid is False:
            figure = f"the {name} run is INVALID: {_first_reason(record)}"
            return Verdict(False, figure, (f"{name} run: INVALID",))
    try:
        results = parse_result(where), parse_result(measured)
    except LogError as error:
        raise RunError(str(error)) from None
    return verify_performance(test, *results)


def _verify_answers(options: RunOptions, where: Path, measured: Path) -> Verdict:
    """Compare answers, and where they differ the metric over them."""
    logs = where / ACCURACY_LOG, measured / ACCURACY_LOG
    verdict = verify_answers(*logs)
    if verdict.passed:
        return verdict
    task, sources = models.get(options.model), options.sources
    benchmark = task.benchmark(options.model)
    if sources.weights is not None:
        task = task.fitting(sources.weights)
    return verify_metric(verdict, *logs, task, benchmark, task.data(task_sources(sources)))


def _anew(options: RunOptions, run: str) -> str:
    return f"make it anew: {command(options, run)}"


def _first_reason(record: Record | None) -> str:
    """Why a run is INVALID, with the cure."""
    if record is not None and record.result is not None:
        for missed in record.result.invalid:
            return f"{missed.reason} (cure: {missed.cure})"
    if record is not None and record.accuracy is not None:
        for doubt in record.accuracy.doubts:
            return f"its accuracy means nothing: {doubt}"
    return "see its run.json"


def _try_writing(options: RunOptions, tests: list[str]) -> None:
    """InputError unless the runs and the folders of the tests can be written."""
    cure = "choose another with --results"
    for test in tests:
        folder = folder_of(options.results, options.model, options.scenario, test)
        try_folder(folder, RESULTS, cure)
        for name in (test, *compared_with(test)):
            try_folder(place(options, name), RESULTS, cure)


def judge(options: RunOptions, test: str, terminal: Terminal, results: Terminal) -> bool:
    """Hold the audit run that is there against its references, and write the test's folder.

    Returns whether it passed. `terminal` shows the folder, `results` the verdicts.
    """
    measured, audited = place(options, test), find_reference(options, test)
    verdicts: dict[str, Verdict] = {}
    for name in compared_with(test):
        where = place(options, name)
        reference = find_reference(options, name)
        check_same(reference, audited, where / RUN_JSON, _anew(options, name))
        if name == ACCURACY:
            verdicts["accuracy"] = _verify_answers(options, where, measured)
        else:
            verdicts["performance"] = _verify_performance(test, reference, audited, where, measured)
    names = (options.results, options.model, options.scenario)
    try:
        folder = write_folder(*names, test, measured, verdicts)
        if test == SAME_TEST:
            # Where the checkers look for the verdict on both.
            write_folder(*names, UNIQUE_TEST, place(options, UNIQUE_TEST), verdicts)
    except OSError as error:
        raise RunError(describe_error(error)) from error
    for what, verdict in verdicts.items():
        results.line(f"  {what}: {'PASS' if verdict.passed else 'FAIL'}: {verdict.figure}")
    terminal.line(f"  compliance folder: {folder}")
    return all(verdict.passed for verdict in verdicts.values())
