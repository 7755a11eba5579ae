"""Runs compliance tests, what they are compared with first where it is missing, and judges them."""

from __future__ import annotations

from dataclasses import replace

from base.errors import ExitCode, InputError, RunError
from launch.compliance.folder import write_folder
from launch.compliance.references import (
    ACCURACY,
    PERFORMANCE,
    at_same_load,
    check_planned,
    check_same,
    compared_with,
    find_reference,
    place,
)
from launch.compliance.rules import Verdict, verify_answers, verify_performance
from launch.options import RunOptions
from launch.results import ACCURACY_LOG, RUN_JSON
from launch.run import planned_record, run
from launch.space import told as told_of
from launch.terminal import Terminal
from loadrun.logs import LogError, parse_result


def audit(options: RunOptions, tests: list[str]) -> ExitCode:
    """Run what is missing, then each of `tests`; exit code 3 where one failed."""
    told = Terminal()
    terminal = Terminal.silent() if options.quiet else told
    _run_references(options, tests, terminal)
    passed = {}
    for test in tests:
        terminal.line()
        terminal.line(f"{test}:")
        audited = replace(options, audit=test)
        run(audited if options.qps else at_same_load(audited), terminal)
        passed[test] = judge(options, test, terminal, told)
    terminal.line()
    for test, good in passed.items():
        told.line(f"{test}: {'PASS' if good else 'FAIL'}")
    return ExitCode.OK if all(passed.values()) else ExitCode.INVALID


def _run_references(options: RunOptions, tests: list[str], terminal: Terminal) -> None:
    modes = dict.fromkeys(mode for test in tests for mode in compared_with(test))
    planned = planned_record(options)
    for mode in modes:
        # Before anything runs: each run takes minutes.
        reference = find_reference(options, mode)
        if reference is not None:
            check_planned(reference, planned, place(options, mode) / RUN_JSON)
    for mode in modes:
        where = place(options, mode)
        if find_reference(options, mode) is not None:
            terminal.line(f"compared with the {mode} run in {where}")
            continue
        terminal.line(f"no complete {mode} run in {where}: it comes first")
        if run(replace(options, mode=mode), terminal) is not ExitCode.OK:
            raise InputError(
                f"the {mode} run is INVALID; an audit needs a VALID one (reasons and cures:"
                f" {where / RUN_JSON})"
            )


def judge(options: RunOptions, test: str, terminal: Terminal, told: Terminal) -> bool:
    """Hold the audit run that is there against its references, and write the test's folder.

    Returns whether it passed. `terminal` is told of the folder, `told` of the verdicts.
    """
    audit = replace(options, audit=test)
    made, audited = place(audit, PERFORMANCE), find_reference(audit, PERFORMANCE)
    verdicts: dict[str, Verdict] = {}
    for mode in compared_with(test):
        where = place(options, mode)
        check_same(find_reference(options, mode), audited, where / RUN_JSON)
        if mode == ACCURACY:
            verdicts["accuracy"] = verify_answers(where / ACCURACY_LOG, made / ACCURACY_LOG)
        else:
            try:
                results = parse_result(where), parse_result(made)
            except LogError as error:
                raise RunError(str(error)) from None
            verdicts["performance"] = verify_performance(test, *results)
    names = (options.results, options.model, options.scenario)
    try:
        folder = write_folder(*names, test, made, verdicts)
    except OSError as error:
        raise RunError(told_of(error)) from error
    for what, verdict in verdicts.items():
        told.line(f"  {what}: {'PASS' if verdict.passed else 'FAIL'}: {verdict.figure}")
    terminal.line(f"  compliance folder: {folder}")
    return all(verdict.passed for verdict in verdicts.values())
