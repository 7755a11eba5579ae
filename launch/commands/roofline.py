"""`loadrun roofline MODEL`: every layer's time against what the machine allows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import models
from launch.commands.arguments import EXIT_CODES, add_data, add_model, add_results, count, positive
from launch.errors import InputError
from launch.options import find_sources
from launch.roofline.options import STANDARD_OUTPUT, RooflineOptions
from launch.writable import try_file

SUMMARY = "show where a model's time goes: each layer against the machine's peak and memory"
DESCRIPTION = """\
Measures this machine's int8 peak and memory bandwidth and, on the same cores, every layer of MODEL
as an instance executes it; prints a table and draws a picture (pip install 'loadrun[report]').
Without --weights and --images the embedded synthetic model and images are used.
"""
EPILOG = f"""\
examples:
  loadrun roofline resnet50
  loadrun roofline mobilenet --batch-size 8 --cores 2 --picture mobilenet.svg
  loadrun roofline resnet50 --json - | jq .total

{EXIT_CODES}"""
PICTURES = (".png", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun roofline` accepts."""
    add_model(parser)
    measured = parser.add_argument_group("what is measured")
    measured.add_argument(
        "--batch-size", type=count, default=1, metavar="N", help="samples of a batch (default 1)"
    )
    measured.add_argument(
        "--cores", type=count, default=1, metavar="N", help="processors of the instance (default 1)"
    )
    measured.add_argument(
        "--time", type=positive, default=15.0, metavar="S", help="seconds to measure (default 15)"
    )
    add_data(parser.add_argument_group("model and data"))
    group = parser.add_argument_group("output")
    add_results(group)
    group.add_argument(
        "--picture",
        metavar="FILE",
        help=".png or .svg; default: RESULTS/roofline/MODEL.png, where matplotlib is installed",
    )
    group.add_argument(
        "--json",
        metavar="FILE",
        help="the figures; default: RESULTS/roofline/MODEL.json. '-' prints them on standard"
        " output, everything else on standard error",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check the options, then measure."""
    options = read_options(arguments)
    # Only now, so that a wrong option is answered at once.
    from launch.roofline.measure import roofline

    return roofline(options)


def read_options(arguments: argparse.Namespace) -> RooflineOptions:
    """The checked options; InputError names the option, its value and the cure."""
    picture = None
    if arguments.picture is not None:
        picture = Path(arguments.picture).expanduser().absolute()
        if picture.suffix not in PICTURES:
            raise InputError(
                f"--picture {arguments.picture}: give a name that ends in {' or '.join(PICTURES)}"
            )
        from launch.roofline.picture import CURE, available

        if not available():
            raise InputError(f"--picture {arguments.picture} needs matplotlib: {CURE}")
    options = RooflineOptions(
        model=models.get(arguments.model).name,
        sources=find_sources(
            arguments.weights, arguments.images, arguments.labels, arguments.calibration
        ),
        batch_size=arguments.batch_size,
        cores=arguments.cores,
        seconds=arguments.time,
        results=Path(arguments.results).expanduser().absolute(),
        picture=picture,
        json=arguments.json,
        command=("loadrun", *sys.argv[1:]),
    )
    for option, path in (("--picture", options.picture_path), ("--json", options.json_path)):
        if arguments.json != STANDARD_OUTPUT or option != "--json":
            _make_room(option, path)
    return options


def _make_room(option: str, path: Path) -> None:
    """Make sure, before anything is measured, that `path` can be written."""
    try_file(path, option, "choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.strerror}; choose another place") from None
