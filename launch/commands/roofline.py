"""`loadrun roofline MODEL`: every layer's time against what the machine allows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import models
from base.errors import InputError
from base.options import count, positive
from launch.build.cache import expanded
from launch.commands.arguments import EXIT_CODES, add_data, add_like_run, add_model, model_of
from launch.options.declare import group
from launch.options.run import OUTPUT
from launch.options.sources import sources_of
from launch.outcome.writable import try_file
from launch.roofline.options import STANDARD_OUTPUT, RooflineOptions

SUMMARY = "show where a model's time goes: each layer against the machine's peak and memory"
DESCRIPTION = """\
Measures this machine's int8 peak and memory bandwidth and, on the same cores, every layer of MODEL
as an instance executes it; prints a table and draws a picture. With --sizes instead the time of
batches of each size up to --batch-size, which was measured when the model was compiled, and how
each is run.
Without --weights and --images the embedded synthetic model and images are used.
"""
EPILOG = f"""\
examples:
  loadrun roofline resnet50
  loadrun roofline mobilenet --batch-size 8 --cores 2 --picture mobilenet.svg
  loadrun roofline resnet50 --json - | jq .total
  loadrun roofline resnet50 --sizes

{EXIT_CODES}"""
PICTURE = ".svg"
BATCH_SIZE, LARGEST_SIZE = 1, 16
"""Default of --batch-size, without and with --sizes."""
SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun roofline` accepts."""
    add_model(parser)
    measured = parser.add_argument_group("what is measured")
    measured.add_argument(
        "--sizes",
        action="store_true",
        help="how long batches of 1 to N samples take, as a table and a picture",
    )
    measured.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help=f"samples of a batch (default {BATCH_SIZE}); with --sizes: up to N (default"
        f" {LARGEST_SIZE})",
    )
    measured.add_argument(
        "--cores", type=count, default=1, metavar="N", help="processors of the instance (default 1)"
    )
    measured.add_argument(
        "--time",
        type=positive,
        metavar="S",
        help=f"seconds to measure (default {SECONDS:g}); not with --sizes",
    )
    add_data(parser)
    add_like_run(parser, OUTPUT, "results")
    output = group(parser, OUTPUT)
    output.add_argument(
        "--picture",
        metavar="FILE",
        help="an .svg file; default: RESULTS/roofline/MODEL.svg (--sizes: MODEL-sizes.svg)",
    )
    output.add_argument(
        "--json",
        metavar="FILE",
        help="the figures; default: beside the picture. '-' prints them on standard"
        " output, everything else on standard error",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check the options, then measure."""
    options = read_options(arguments)
    # Only now, so that a wrong option is answered at once.
    if options.sizes:
        from launch.roofline.sizes import sizes

        return sizes(options)
    from launch.roofline.measure import roofline

    return roofline(options)


def read_options(arguments: argparse.Namespace) -> RooflineOptions:
    """The checked options; InputError names the option, its value and the cure."""
    if arguments.sizes and arguments.time is not None:
        raise InputError(f"--time {arguments.time:g} and --sizes exclude each other: leave one out")
    picture = None
    if arguments.picture is not None:
        picture = expanded(arguments.picture, "--picture")
        if picture.suffix != PICTURE:
            raise InputError(f"--picture {arguments.picture}: give a name that ends in {PICTURE}")
    model = model_of(arguments)
    _check_form(arguments, model)
    options = RooflineOptions(
        model=model,
        sources=sources_of(arguments, models.get(model)),
        batch_size=arguments.batch_size or (LARGEST_SIZE if arguments.sizes else BATCH_SIZE),
        cores=arguments.cores,
        seconds=arguments.time or SECONDS,
        sizes=arguments.sizes,
        results=expanded(arguments.results, "--results"),
        picture=picture,
        json=arguments.json,
        command=("loadrun", *sys.argv[1:]),
    )
    for option, path in (("--picture", options.picture_path), ("--json", options.json_path)):
        if arguments.json != STANDARD_OUTPUT or option != "--json":
            _make_room(option, path)
    return options


def _check_form(arguments: argparse.Namespace, model: str) -> None:
    """Whether the network's kernels can be measured, in batches or by sizes."""
    # What knows forms needs numpy, which --help does without.
    from models.task import NETWORK
    from netrun.roofline.config import measurable

    task = models.get(model)
    if not measurable(task.parts):
        raise InputError(f"{model}: kernels of such a network are not measured one by one")
    if arguments.sizes and {part.form for part in task.parts} != {NETWORK}:
        raise InputError(f"--sizes: a batch of {model} takes the time of its work: leave it out")
    if task.stepwise and arguments.batch_size:
        raise InputError(
            f"--batch-size {arguments.batch_size}: {model} runs one window at a time: leave it out"
        )


def _make_room(option: str, path: Path) -> None:
    """Make sure, before anything is measured, that `path` can be written."""
    try_file(path, option, "choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.strerror}; choose another place") from None
