"""`loadrun calibrate MODEL`: make the int8 model of weights and calibration images, and keep it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

import models
from base.errors import InputError
from base.options import count
from launch.commands.arguments import EXIT_CODES, add_model, model_of, one_of
from launch.options import CalibrateOptions, Sources, find_path
from launch.options.declare import offer
from launch.screen.announcement import embedded, weights_of
from loadrun.durations import took
from loadrun.scenarios import OFFLINE

if TYPE_CHECKING:
    from launch.build.assets import Assets

SUMMARY = "calibrate a model for int8 and keep the result for later runs"
DESCRIPTION = """\
Takes int8 ranges from calibration images, quantises MODEL with them and compiles the result for
this machine. A later run with the same weights and --calibration finds it and starts at once.
Without --weights and --images the embedded synthetic model and images are used.
"""
EPILOG = f"""\
examples:
  loadrun calibrate resnet50 --weights resnet50.pth --images imagenet/calibration
  loadrun run resnet50 --weights resnet50.pth --calibration imagenet/calibration --images val
  loadrun calibrate resnet50 --weights resnet50.pth --images val --list cal_image_list_option_1.txt
  loadrun run resnet50 --weights resnet50.pth --images val --calibration cal_image_list_option_1.txt

{EXIT_CODES}"""
ENGINES = ("onednn", "pytorch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun calibrate` accepts."""
    add_model(parser)
    data = parser.add_argument_group("model and data")
    data.add_argument("--weights", metavar="FILE", help="fp32 weights [LOADRUN_WEIGHTS]")
    data.add_argument(
        "--images",
        "--calibration",
        metavar="DIR",
        help="images that int8 ranges are taken from [LOADRUN_CALIBRATION]",
    )
    data.add_argument(
        "--list",
        metavar="FILE",
        help="take the images of DIR that FILE names, one a line, as MLPerf's"
        " cal_image_list_option_1.txt; else up to 200, evenly spread",
    )
    engine = parser.add_argument_group("engine")
    compiled_for = engine.add_argument(
        "--engine",
        default="onednn",
        metavar="NAME",
        help="what to compile for: onednn (default), or pytorch, which compiles nothing",
    )
    offer(compiled_for, lambda: ENGINES)
    engine.add_argument(
        "--batch-size",
        type=count,
        default=OFFLINE.batch_size,
        metavar="N",
        help=f"compile for batches of up to N samples (default {OFFLINE.batch_size})",
    )
    engine.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="compile for instances of N cores (default: those of a run's default plan)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Calibrate and compile what is not in the cache yet, and say where it stands."""
    options = read_options(arguments)
    # Only now, so that a wrong option is answered at once.
    from launch.build.alone import ArtifactOptions, build_alone

    sources = Sources(
        weights=options.weights,
        images=options.images if options.names else None,
        labels=None,
        calibration=options.names or options.images,
    )
    build_alone(
        ArtifactOptions(
            options.model, sources, options.engine, "int8", options.batch_size, options.threads
        ),
        lambda engine: announcement(options, engine),
        summary,
    )
    return 0


def read_options(arguments: argparse.Namespace) -> CalibrateOptions:
    """The checked options; InputError names the option, its value and the cure."""
    weights = find_path("--weights", arguments.weights, "LOADRUN_WEIGHTS", os.environ, "file")
    images = find_path("--images", arguments.images, "LOADRUN_CALIBRATION", os.environ, "directory")
    if weights is not None and images is None:
        raise InputError(f"--weights {weights}: calibration images are missing (give --images DIR)")
    names = find_path("--list", arguments.list, "", {}, "file")
    if names is not None and images is None:
        raise InputError(f"--list {names}: the folder of images is missing (give --images DIR)")
    return CalibrateOptions(
        model=model_of(arguments),
        weights=weights,
        images=images,
        names=names,
        engine=one_of("--engine", arguments.engine, ENGINES),
        batch_size=arguments.batch_size,
        threads=arguments.threads,
    )


def announcement(options: CalibrateOptions, engine: str) -> list[str]:
    """What is going to be calibrated, as lines for a person; `engine` is the one about that."""
    lines = [
        f"{models.get(options.model).title}  int8 calibration",
        f"  weights: {weights_of(options.model, options.weights)}",
        f"  calibration images: {options.images or embedded(options.model)}",
        engine,
    ]
    if options.images and not options.weights:
        lines.append("  note: only the weights are synthetic: accuracy means nothing")
    return lines


def summary(assets: Assets, took_s: float) -> list[str]:
    """Files, keys, origin and time as lines for a person."""
    from launch.build.alone import file_lines, source_lines

    lines = [*file_lines(assets, "int8"), *source_lines(assets)]
    program = assets.files[0]
    if program.built:
        return [*lines, f"calibrated in {took(took_s)}"]
    return [*lines, f"already calibrated (looked up in {took(took_s)})"]
