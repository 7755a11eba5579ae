"""`loadrun find-qps MODEL`: the highest Server target_qps that is VALID."""

from __future__ import annotations

import argparse
from pathlib import Path

import models
from base.errors import InputError
from base.options import positive
from launch.commands.arguments import add_data, add_like_run, add_model, model_of
from launch.options import RunOptions, find_user_conf
from launch.options.declare import group
from launch.options.run import OUTPUT
from launch.options.sources import sources_of

SUMMARY = "find the highest Server target_qps that is VALID and write it into user.conf"
DESCRIPTION = """\
Looks for the highest rate of the Server scenario that is VALID: short tests bracket and bisect it,
longer ones confirm it, the last of them at the full length. The result goes into the tuned section
at the end of user.conf; other lines of the file stay as they are. A tuned configuration of the
model is used as in `loadrun run`.
"""
EPILOG = """\
examples:
  loadrun find-qps resnet50
  loadrun find-qps mobilenet --durations 5 20 60 --precision 3
  loadrun find-qps resnet50 --loadgen --max-latency 100

exit codes: 0 a rate was found; 3 none is VALID; 2 bad usage, configuration or
input; 4 a run failed; 130 interrupted.
"""
SEARCH = "search"
SERVING = ("instances", "cores", "batch_size", "in_flight", "policy", "engine", "tuned")
"""Options of a run that every test of a search is given as they stand."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun find-qps` accepts."""
    add_model(parser)
    search = group(parser, SEARCH)
    search.add_argument(
        "--durations",
        type=positive,
        nargs="+",
        default=[10.0, 60.0, 600.0],
        metavar="S",
        help="seconds of the tests, growing; the last confirms (10 60 600)",
    )
    search.add_argument(
        "--precision", type=positive, default=2.0, metavar="PERCENT", help="of the rate (2)"
    )
    search.add_argument(
        "--start", type=positive, metavar="X", help="first rate; default: from the warm-up"
    )
    search.add_argument(
        "--loadgen", action="store_true", help="let LoadGen search (FindPeakPerformance)"
    )
    add_like_run(
        parser,
        SEARCH,
        max_latency_ms="latency limit; default: the official",
        user_conf="where the result goes; default: the file that runs read, else ./user.conf",
    )
    search.add_argument(
        "--dry-run", action="store_true", help="search, but leave user.conf as it is"
    )
    add_like_run(parser, "plan and engine", **dict.fromkeys(SERVING, "as in loadrun run"))
    add_data(parser)
    add_like_run(parser, OUTPUT, "results")


def execute(arguments: argparse.Namespace) -> int:
    """Check the options, then search."""
    from launch.qps.find import QpsOptions, find_qps

    model = model_of(arguments)
    task, benchmark = models.get(model), models.benchmark(model)
    if benchmark.server_ms is None and arguments.max_latency_ms is None:
        raise InputError(f"{benchmark.name} has no Server scenario: give --max-latency MS")
    durations = tuple(arguments.durations)
    if list(durations) != sorted(set(durations)):
        raise InputError(f"--durations {' '.join(f'{d:g}' for d in durations)}: must grow")
    if arguments.precision >= 50:
        raise InputError(f"--precision {arguments.precision:g}: give a percentage below 50")
    passed = {name: getattr(arguments, name) for name in (*SERVING, "max_latency_ms")}
    # The file that runs read from here, so that it stays the one they read.
    conf = find_user_conf(arguments.user_conf) or Path.cwd() / "user.conf"
    return find_qps(
        QpsOptions(
            model=model,
            conf=benchmark.conf,
            sources=sources_of(arguments, task),
            words=tuple(RunOptions.asking(**passed)),
            durations=durations,
            precision=arguments.precision / 100,
            start=arguments.start,
            loadgen=arguments.loadgen,
            user_conf=conf,
            keep=not arguments.dry_run,
            results=Path(arguments.results).absolute(),
        )
    )
