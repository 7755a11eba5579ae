"""Runs compliance tests, what they are compared with first where it is missing, and judges them."""

from __future__ import annotations

from dataclasses import replace

from launch.compliance.folder import write_folder
from launch.compliance.references import ACCURACY, PERFORMANCE, check_same, find_reference, place
from launch.compliance.rules import Verdict, verify_answers, verify_performance
from launch.errors import ExitCode, InputError
from launch.options import RunOptions
from launch.results import ACCURACY_LOG, RUN_JSON
from launch.run import run
from launch.terminal import Terminal
from loadrun.logs import parse_result


def audit(options: RunOptions, tests: list[str]) -> ExitCode:
    """Run what is missing, then each of `tests`; exit code 3 where one failed."""
    told = Terminal()
    terminal = Terminal.silent() if options.quiet else told
    _run_references(options, tests, terminal)
    passed = {test: _audit(replace(options, audit=test), terminal, told) for test in tests}
    terminal.line()
    for test, good in passed.items():
        told.line(f"{test}: {'PASS' if good else 'FAIL'}")
    return ExitCode.OK if all(passed.values()) else ExitCode.INVALID


def _run_references(options: RunOptions, tests: list[str], terminal: Terminal) -> None:
    for mode in (PERFORMANCE, *([ACCURACY] if "TEST01" in tests else [])):
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


def _audit(options: RunOptions, terminal: Terminal, told: Terminal) -> bool:
    test = options.audit
    assert test is not None
    terminal.line()
    terminal.line(f"{test}:")
    run(options, terminal)
    made, audited = place(options, PERFORMANCE), find_reference(options, PERFORMANCE)
    unaudited = replace(options, audit=None)
    verdicts: dict[str, Verdict] = {}
    for mode in (PERFORMANCE, *([ACCURACY] if test == "TEST01" else [])):
        where = place(unaudited, mode)
        check_same(find_reference(unaudited, mode), audited, where / RUN_JSON)
        if mode == ACCURACY:
            verdicts["accuracy"] = verify_answers(where / ACCURACY_LOG, made / ACCURACY_LOG)
        else:
            results = parse_result(where), parse_result(made)
            verdicts["performance"] = verify_performance(test, *results)
    names = (options.results, options.model, options.scenario)
    folder = write_folder(*names, test, made, verdicts)
    for what, verdict in verdicts.items():
        told.line(f"  {what}: {'PASS' if verdict.passed else 'FAIL'}: {verdict.figure}")
    terminal.line(f"  compliance folder: {folder}")
    return all(verdict.passed for verdict in verdicts.values())
