"""`loadrun audit MODEL`: run compliance tests and judge them by the official rules."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

from launch.commands.arguments import add_scenario
from launch.commands.run import add_run_arguments, read_options
from launch.errors import ExitCode, InputError
from launch.options import RunOptions

SUMMARY = "run MLPerf's compliance tests and judge them by the official rules"
DESCRIPTION = """\
Runs compliance tests of MODEL and compares each with the performance run and the accuracy run in
the results directory. What is missing of these is run first. Writes the compliance folder of a
submission, <results>/compliance/MODEL/SCENARIO/TEST, and says PASS or FAIL with the figures.

  TEST01  answers given in a performance run are those of the accuracy run, and logging them costs
          no more than 10% of performance
  TEST04  the same sample again and again is no more than 10% faster: nothing is cached
"""
EPILOG = """\
examples:
  loadrun audit resnet50 --scenario offline --fast
  loadrun audit resnet50 --scenario singlestream --tests TEST04 --weights resnet50.pth --images val

exit codes: 0 all tests passed; 2 bad usage or input; 3 a test failed; 4 a run failed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun audit` accepts: what shapes a run, and the tests."""
    add_run_arguments(parser)
    add_scenario(parser)
    parser.add_argument(
        "--tests",
        default="TEST01,TEST04",
        metavar="NAMES",
        help="compliance tests, by commas (default: TEST01,TEST04)",
    )
    parser.set_defaults(mode="PerformanceOnly", audit=None, json=False)


def execute(arguments: argparse.Namespace) -> int:
    """Run what is missing, then each test; judge it."""
    from launch.compliance.settings import audit_config

    options = read_options(arguments)
    tests = list(dict.fromkeys(name.strip().upper() for name in arguments.tests.split(",")))
    for test in tests:
        audit_config(test)
    from launch.terminal import Terminal

    terminal = Terminal()
    _run_references(options, tests, terminal)
    passed = {test: _audit(options, test, terminal) for test in tests}
    terminal.line()
    for test, good in passed.items():
        terminal.line(f"{test}: {'PASS' if good else 'FAIL'}")
    return ExitCode.OK if all(passed.values()) else ExitCode.INVALID


def _run_references(options: RunOptions, tests: list[str], terminal: Any) -> None:
    from launch.compliance.references import (
        ACCURACY,
        PERFORMANCE,
        find_reference,
        place,
        reference_options,
    )
    from launch.run import run

    for mode in (PERFORMANCE, *([ACCURACY] if "TEST01" in tests else [])):
        where = place(options, mode)
        if find_reference(options, mode) is not None:
            terminal.line(f"compared with the {mode} run in {where}")
            continue
        terminal.line(f"no complete {mode} run in {where}: it comes first")
        if run(reference_options(options, mode)) is not ExitCode.OK:
            raise InputError(f"the {mode} run is INVALID; an audit needs a VALID one (see above)")


def _audit(options: RunOptions, test: str, terminal: Any) -> bool:
    from launch.compliance.folder import write_folder
    from launch.compliance.references import (
        ACCURACY,
        PERFORMANCE,
        check_same,
        find_reference,
        place,
    )
    from launch.compliance.rules import verify_answers, verify_performance
    from launch.results import RUN_JSON, home
    from launch.run import run
    from loadrun.logs import parse_result

    terminal.line()
    terminal.line(f"{test}:")
    run(replace(options, audit=test))
    made = home(options.results, options.scenario, options.model) / test / "performance" / "run_1"
    record = json.loads((made / RUN_JSON).read_text())
    verdicts = {}
    modes = [PERFORMANCE, *([ACCURACY] if test == "TEST01" else [])]
    for mode in modes:
        where = place(options, mode)
        reference = find_reference(options, mode)
        assert reference is not None
        check_same(reference, record, where / RUN_JSON)
        if mode == ACCURACY:
            log = "mlperf_log_accuracy.json"
            verdicts["accuracy"] = verify_answers(where / log, made / log)
        else:
            results = parse_result(where), parse_result(made)
            verdicts["performance"] = verify_performance(test, *results)
    names = (options.results, options.model, options.scenario)
    folder = write_folder(*names, test, made, verdicts)
    for what, verdict in verdicts.items():
        terminal.line(f"  {what}: {'PASS' if verdict.passed else 'FAIL'}: {verdict.figure}")
    terminal.line(f"  compliance folder: {folder}")
    return all(verdict.passed for verdict in verdicts.values())
