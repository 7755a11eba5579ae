"""`loadrun run-all`: several benchmarks, scenarios and modes, one run after the other."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import models
from base.errors import InputError
from base.options import positive
from launch.commands import run as run_command
from launch.commands.arguments import (
    add_config_vers,
    add_scenarios,
    config_vers_of,
    names_of,
    round_of,
    scenarios_of,
)
from launch.options import RunOptions, Sources
from launch.options.declare import group, offer
from launch.options.run import TEST
from loadrun.scenarios import (
    MODES,
    OFFLINE,
    PERFORMANCE_ONLY,
    SERVER,
    UnknownNameError,
    parse_mode,
)

SUMMARY = "run several benchmarks, scenarios and modes, one after the other"
DESCRIPTION = """\
Runs every benchmark in every scenario and mode, one after the other. All that the runs need is
prepared first; one that fails does not stop the others; a table at the end shows them all. After
an interruption, or where runs did not pass, the same command goes on with what is missing; once
all have passed it begins anew. Combinations that there are not (a scenario that is none of a
benchmark's, high_accuracy of a task with one benchmark) are left out, with a line for each.

Options of `loadrun run` hold for every run. Weights and data of several tasks are found below
MLPERF_SCRATCH_PATH (`loadrun fetch` puts them there); else the embedded synthetic ones are used.
"""
EPILOG = """\
examples:
  loadrun run-all --benchmarks resnet50,bert --scenarios Offline,Server --fast
  loadrun run-all --benchmarks=bert --scenarios=Offline --config-ver=default,high_accuracy \\
      --test-mode=PerformanceOnly,AccuracyOnly --fast
  loadrun run-all --benchmarks resnet50 --prepare-only     # build, and say where it is
  loadrun run-all --benchmarks resnet50 --audits           # the compliance tests

exit codes: 0 all VALID, or measured, or passed; 2 bad usage or configuration, and nothing ran; 3
one is INVALID or did not pass; 4 one failed, or could not be prepared; 130 interrupted.
"""
CHOSEN = "what is run"
TARGETS = {"--server-target-qps": SERVER, "--offline-expected-qps": OFFLINE}
"""Options for the target rate of one scenario, as NVIDIA's harness has them."""
NAMED = ("model", "config_ver", "scenario", "mode", "audit", "task", "like")
"""Options of a run in whose place run-all has lists, and those of networks of one's own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the lists, and what `loadrun run` accepts beside them."""
    chosen = group(parser, CHOSEN)
    benchmarks = chosen.add_argument(
        "--benchmarks",
        metavar="NAMES",
        help="by commas: tasks or benchmarks (default: all tasks)",
    )
    offer(benchmarks, models.choices)
    add_scenarios(chosen, "by commas (default: all that a benchmark officially has)")
    add_config_vers(chosen, "by commas: default, high_accuracy, all (default: default)")
    modes = chosen.add_argument(
        "--test-mode",
        metavar="NAMES",
        default=PERFORMANCE_ONLY.name,
        help="by commas: PerformanceOnly (default), AccuracyOnly, SubmissionRun,"
        " FindPeakPerformance (Server)",
    )
    offer(modes, lambda: MODES)
    chosen.add_argument(
        "--audits",
        action="store_true",
        help="compliance tests in place of a test mode, those that each benchmark has",
    )
    chosen.add_argument(
        "--prepare-only",
        action="store_true",
        help="build what the runs need, say where it is, and end",
    )
    chosen.add_argument(
        "--rerun", action="store_true", help="run also what an earlier call has passed"
    )
    chosen.add_argument("--dry-run", action="store_true", help="only say what would run")
    targets = group(parser, TEST)
    for flag, scenario in TARGETS.items():
        targets.add_argument(
            flag, dest=flag, type=positive, metavar="X", help=f"--qps of {scenario.name} alone"
        )
    run_command.add_arguments(parser, **{**dict.fromkeys(NAMED), "json": False})


def execute(arguments: argparse.Namespace) -> int:
    """Check everything that can be wrong, then run."""
    from launch.series.series import Series, run_all
    from launch.series.steps import Wanted, find_steps, tasks_of

    benchmarks = names_of(arguments, "benchmarks") or models.names()
    _check_sources(arguments, tasks_of(benchmarks))
    scenarios = scenarios_of(arguments)
    try:
        modes = tuple(map(parse_mode, names_of(arguments, "test_mode")))
    except UnknownNameError as error:
        raise InputError(str(error)) from None
    wanted = Wanted(
        benchmarks=tuple(benchmarks),
        config_vers=tuple(config_vers_of(arguments)),
        scenarios=scenarios,
        modes=tuple(dict.fromkeys(modes)),
        audits=arguments.audits,
        round=round_of(arguments),
    )
    passed = {name: getattr(arguments, name) for name in RunOptions.options() if name not in NAMED}
    targets = {known.name: getattr(arguments, flag) for flag, known in TARGETS.items()}

    def options(model: str, scenario: str, mode: str) -> RunOptions:
        parser = argparse.ArgumentParser()
        run_command.add_arguments(parser)
        own = {"qps": targets.get(scenario) or passed["qps"]}
        words = RunOptions.asking(model=model, scenario=scenario, mode=mode, **{**passed, **own})
        found = run_command.read_options(parser.parse_args(words))
        name = "audit" if arguments.audits else "run"
        return replace(found, command=("loadrun", name, *words))

    steps, left_out = find_steps(wanted, options)
    if not steps:
        raise InputError(f"nothing to run: {'; '.join(left_out)}")
    return run_all(
        Series(
            steps=steps,
            left_out=left_out,
            results=Path(arguments.results).absolute(),
            command=("loadrun", *sys.argv[1:]),
            rerun=arguments.rerun,
            dry_run=arguments.dry_run,
            prepare_only=arguments.prepare_only,
        )
    )


def _check_sources(arguments: argparse.Namespace, tasks: list[str]) -> None:
    """InputError for one file of weights or data that several tasks are to have."""
    for name, option in Sources.options().items():
        value = getattr(arguments, name)
        if len(tasks) > 1 and value not in (None, False, option.default):
            raise InputError(
                f"{option.flag} {value}: is for one task, not for {' and '.join(tasks)}; theirs are"
                " looked for below MLPERF_SCRATCH_PATH"
            )
