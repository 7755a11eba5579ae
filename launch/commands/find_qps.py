"""`loadrun find-qps MODEL`: the highest Server target_qps that is VALID."""

from __future__ import annotations

import argparse
from pathlib import Path

import models
from base.errors import InputError
from launch.commands.arguments import add_data, add_model, add_results, count, positive
from launch.options import find_sources, find_user_conf

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun find-qps` accepts."""
    add_model(parser)
    search = parser.add_argument_group("search")
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
    search.add_argument(
        "--max-latency", type=positive, metavar="MS", help="latency limit; default: the official"
    )
    search.add_argument(
        "--user-conf",
        metavar="FILE",
        help="where the result goes; default: the file that runs read, else ./user.conf",
    )
    search.add_argument(
        "--dry-run", action="store_true", help="search, but leave user.conf as it is"
    )
    serving = parser.add_argument_group("plan and engine")
    for option in ("--instances", "--cores", "--batch-size", "--in-flight"):
        serving.add_argument(option, type=count, metavar="N", help="as in loadrun run")
    for option in ("--policy", "--engine"):
        serving.add_argument(option, metavar="NAME", help="as in loadrun run")
    serving.add_argument("--tuned", action=argparse.BooleanOptionalAction, help="as in loadrun run")
    add_data(parser.add_argument_group("model and data"))
    add_results(parser.add_argument_group("output"))


def execute(arguments: argparse.Namespace) -> int:
    """Check the options, then search."""
    from launch.qps.find import QpsOptions, find_qps

    model = models.get(arguments.model)
    durations = tuple(arguments.durations)
    if list(durations) != sorted(set(durations)):
        raise InputError(f"--durations {' '.join(f'{d:g}' for d in durations)}: must grow")
    if arguments.precision >= 50:
        raise InputError(f"--precision {arguments.precision:g}: give a percentage below 50")
    words = [
        f"--{name.replace('_', '-')}={value}"
        for name in ("instances", "cores", "batch_size", "in_flight", "policy", "engine")
        if (value := getattr(arguments, name)) is not None
    ]
    if arguments.max_latency is not None:
        words.append(f"--max-latency={arguments.max_latency:g}")
    if arguments.tuned is not None:
        words.append("--tuned" if arguments.tuned else "--no-tuned")
    # The file that runs read from here, so that it stays the one they read.
    conf = find_user_conf(arguments.user_conf) or Path.cwd() / "user.conf"
    return find_qps(
        QpsOptions(
            model=model.name,
            mlperf_name=model.mlperf_name,
            sources=find_sources(
                arguments.weights, arguments.images, arguments.labels, arguments.calibration
            ),
            words=tuple(words),
            durations=durations,
            precision=arguments.precision / 100,
            start=arguments.start,
            loadgen=arguments.loadgen,
            user_conf=conf,
            keep=not arguments.dry_run,
            results=Path(arguments.results).absolute(),
        )
    )
