"""`loadrun audit MODEL`: run compliance tests and judge them by the official rules."""

from __future__ import annotations

import argparse

import models
from base.errors import InputError
from launch.commands.run import add_arguments as add_run_arguments
from launch.commands.run import read_options
from launch.compliance.settings import AUDITS, parse_audits, tests_of
from launch.options.declare import group, offer
from launch.options.run import TEST
from loadrun.scenarios import PERFORMANCE_ONLY

SUMMARY = "run MLPerf's compliance tests and judge them by the official rules"
DESCRIPTION = """\
Runs compliance tests of MODEL and compares each with the performance run and the accuracy run in
the results directory. What is missing of these is run first. Writes the compliance folder of a
submission, <results>/compliance/MODEL/SCENARIO/TEST, and says PASS or FAIL with the figures.

  TEST01  answers given in a performance run are those of the accuracy run, and logging them costs
          no more than 10% of performance
  TEST04  the same sample again and again is no more than 10% faster: nothing is cached
          (TEST04-A and TEST04-B in rounds v1.1 and v2.0, the second no faster than the first)
  TEST05  with other seeds performance is the same (with --round, of the rounds up to v4.1)
"""
EPILOG = """\
examples:
  loadrun audit resnet50 --scenario offline --fast
  loadrun audit resnet50 --scenario singlestream --tests TEST04 --weights resnet50.pth --images val

exit codes: 0 all tests passed; 2 bad usage or input; 3 a test failed; 4 a run failed; 130
interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun audit` accepts: what shapes a run, and the tests."""
    add_run_arguments(parser, mode=PERFORMANCE_ONLY.name, audit=None, json=False)
    tests = group(parser, TEST).add_argument(
        "--tests",
        metavar="NAMES",
        help="compliance tests, by commas (default: those that MODEL's benchmark has)",
    )
    offer(tests, lambda: AUDITS)


def execute(arguments: argparse.Namespace) -> int:
    """Check the options and the tests, then run them."""
    options = read_options(arguments)
    benchmark = models.benchmark(options.model)
    if arguments.tests is None:
        tests = list(tests_of(benchmark, options.round))
    else:
        tests = parse_audits(arguments.tests, options.round)
    if not tests:
        raise InputError(f"{benchmark.name} has no compliance tests (--tests chooses some)")
    from launch.compliance.audit import audit

    return audit(options, tests)
