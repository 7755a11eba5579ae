"""`loadrun submit`: everything an MLPerf submission needs, in one resumable command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import models
from base.errors import InputError
from launch.commands.arguments import (
    add_config_vers,
    add_data,
    add_like_run,
    add_scenarios,
    config_vers_of,
    names_of,
    round_of,
    scenarios_of,
)
from launch.options import RunOptions, Sources
from launch.options.declare import group, offer
from launch.options.run import ENGINE, OUTPUT, TEST
from loadrun.rounds import ROUNDS

if TYPE_CHECKING:
    from launch.submission.layout import Layout

SUMMARY = "run what an MLPerf submission needs, assemble its tree, have it checked"
DESCRIPTION = """\
Runs what is missing of a submission (performance, accuracy, compliance tests, for every scenario of
the category), assembles the tree of the round and, with --checker, runs MLPerf's submission checker
and explains its complaints. What will run and how long it takes is said first; what is there
already is not run again, so that the same command goes on after an interruption.

SYSTEM.json describes the machine; its name without .json is the system's in the submission. Its
division and system_type decide what is run. `loadrun doctor --system SYSTEM.json` writes one for
this machine and names what a person must fill.

Each scenario runs with the configuration that `loadrun tune` found for it, else with the default.
"""
EPILOG = """\
examples:
  loadrun doctor --system my-server.json
  loadrun submit --submitter Acme --system my-server.json --round v5.0 --dry-run
  loadrun submit --submitter Acme --system my-server.json --round v5.0 \\
      --weights resnet50.pth --images val --labels val_map.txt --calibration cal_list.txt \\
      --checker ../inference

exit codes: 0 assembled, and the checker had nothing to say; 2 bad usage or input; 3 a run is
INVALID, a compliance test failed or the checker complains; 4 a run failed; 130 interrupted.
"""
TREE = "submission"
PASSED = ("fast", "any_length", "count", "time_s", "user_conf", "engine", "precision", "results")
"""Options that each run is given as they stand, beside those of the data."""
CHOOSE = "choose another place with --out"
TREE_BYTES = 8 << 20
"""Room that a tree needs, well measured: logs are cut, and LoadGen's others are small."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add whose submission it is, of what, and what shapes its runs."""
    parser.add_argument("--submitter", required=True, metavar="ORG", help="the organisation")
    parser.add_argument(
        "--system", required=True, metavar="FILE", help="the system's description (SYSTEM.json)"
    )
    rounds = parser.add_argument(
        "--round",
        required=True,
        metavar="NAME",
        help="v5.0 to v6.1, or the last round of a benchmark that has ended",
    )
    offer(rounds, lambda: ROUNDS)
    chosen = parser.add_argument(
        "--models",
        default="resnet50",
        metavar="NAMES",
        help="by commas: benchmarks or tasks, each with a submission of its own (default: resnet50;"
        " those that the round does not have in the open division)",
    )
    offer(chosen, models.choices)
    add_config_vers(
        parser,
        "by commas, of tasks among --models: default, high_accuracy, all (default: default)",
    )
    add_scenarios(
        parser, "by commas (default: all that the category asks for; fewer in the open division)"
    )
    parser.add_argument(
        "--checker", metavar="DIR", help="a checkout of mlcommons/inference, whose checker is run"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would run, and how long it takes"
    )
    add_like_run(
        parser,
        TEST,
        fast="60 s a test instead of 600; not submittable",
        count="queries of a test; not submittable",
        time_s="minimum duration, s; below 600 not submittable",
        any_length="also run tests that take far longer than asked for",
        user_conf="LoadGen's user.conf",
    )
    add_like_run(parser, ENGINE, engine="see loadrun run", precision="see loadrun run")
    add_data(parser)
    add_like_run(parser, OUTPUT, "results")
    group(parser, OUTPUT).add_argument(
        "--out", metavar="DIR", help="where the tree goes (default: RESULTS/submission/ROUND)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check everything that can be wrong, then run."""
    from launch.commands import run as run_command
    from launch.machine.topology import read_topology
    from launch.outcome.room import need_space
    from launch.series.benchmarks import benchmarks_of
    from launch.submission import rules
    from launch.submission.checker import find_checker
    from launch.submission.layout import Layout
    from launch.submission.system import check_name, read_system

    round = round_of(arguments)
    assert round is not None  # argparse asks for it
    scenarios = scenarios_of(arguments)
    submitter = check_name("--submitter", arguments.submitter)
    path = Path(arguments.system).absolute()
    system = read_system(path, submitter, read_topology())
    if own := [name for name in names_of(arguments, "models") if models.is_own(name)]:
        raise InputError(f"--models {own[0]}: a network of your own cannot be submitted yet")
    versions = config_vers_of(arguments)
    names, left_out = benchmarks_of(names_of(arguments, "models"), versions)
    if not names:
        raise InputError(f"--models {arguments.models}: {'; '.join(left_out)}")
    closed = system["division"] == rules.CLOSED
    benchmarks = {name: models.benchmark(name) for name in names}
    strange = [name for name, found in benchmarks.items() if not found.categories]
    if closed and strange:
        raise InputError(
            f"--models {strange[0]}: no benchmark of the closed division (known:"
            f" {', '.join(rules.closed())}); division open takes it"
        )
    needed = {name: rules.scenarios(system["system_type"], b) for name, b in benchmarks.items()}
    for name, benchmark in benchmarks.items() if closed else ():
        rules.check_category(system["system_type"], round, benchmark)
        _check_scenarios(name, system["system_type"], needed[name], scenarios)
    checker = None
    if arguments.checker:
        checker = find_checker(Path(arguments.checker).absolute(), round)
    results = Path(arguments.results).absolute()
    out = Path(arguments.out).absolute() if arguments.out else results / TREE / round
    need_space(out, TREE_BYTES, "submission", CHOOSE)
    layout = Layout(out, round, system["division"], submitter, path.stem)
    _try_writing(layout, checker is not None)

    passed = {name: getattr(arguments, name) for name in (*PASSED, *Sources.options())}

    def options(model: str, scenario: str) -> RunOptions:
        parser = argparse.ArgumentParser()
        run_command.add_arguments(parser)
        words = RunOptions.asking(model=model, scenario=scenario, round=round, **passed)
        return run_command.read_options(parser.parse_args(words))

    runs = [options(model, scenario) for model in names for scenario in scenarios or needed[model]]
    from launch.submission.submit import Submission, submit

    return submit(
        Submission(
            layout=layout,
            system=system,
            runs=runs,
            samples=_sample_count(runs[0]),
            checker=checker,
            dry_run=arguments.dry_run,
        )
    )


def _try_writing(layout: Layout, checked: bool) -> None:
    """InputError unless the whole tree can be written, and the checker's log beside it."""
    from launch.outcome.writable import try_file, try_folder
    from launch.submission.submit import checker_log
    from launch.submission.tree import MAPPING

    for place in layout.own:
        try_folder(place, "submission", CHOOSE)
    for file in (layout.description, layout.calibration, layout.home / MAPPING):
        try_file(file, "submission", CHOOSE)
    if checked:
        try_file(checker_log(layout), "submission", CHOOSE)


def _check_scenarios(
    name: str, system_type: str, needed: Sequence[str], given: Sequence[str]
) -> None:
    """Refuse what a closed result of a category lacks or must not have."""
    lacking = [scenario for scenario in needed if given and scenario not in given]
    if lacking:
        raise InputError(f"--scenarios: {name} in {system_type} also asks for {', '.join(lacking)}")
    strange = [scenario for scenario in given if scenario not in needed]
    if strange:
        raise InputError(
            f"--scenarios: {name} in {system_type} has no {', '.join(strange)} in the closed"
            " division"
        )


def _sample_count(options: RunOptions) -> int | None:
    """Return the size of the data set; None for the synthetic one. Raises InputError."""
    from launch.build.prepare import task_sources

    sources, task = options.sources, models.get(options.model)
    if sources.served is None:
        return None
    data = task.data(task_sources(sources))
    if not data.scored:
        flag = "--images" if sources.data is None else "--data"
        raise InputError(f"{flag} {sources.served}: no {task.truths}, so no accuracy: {data.truth}")
    return len(data)
