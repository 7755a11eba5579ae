"""`loadrun calibrate MODEL`: make the int8 model of weights and calibration data, and keep it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import models
import models.options
from base.errors import InputError
from base.options import Option
from launch.commands.arguments import EXIT_CODES, add_batches, add_model, model_of, one_of
from launch.options import CalibrateOptions, Sources, find_path, find_sources
from launch.options.declare import add, offer
from launch.options.sources import data_option
from loadrun.durations import took

if TYPE_CHECKING:
    from launch.build.assets import Assets

SUMMARY = "calibrate a model for int8 and keep the result for later runs"
DESCRIPTION = """\
Takes int8 ranges from calibration images (or questions, or whatever MODEL has), quantises MODEL
with them and compiles the result for this machine. A later run with the same weights and
--calibration finds it and starts at once. Without --weights and --images the embedded synthetic
model and images are used.
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
        "--data",
        "--calibration",
        dest="data",
        metavar="PATH",
        help="images, or other data, that int8 ranges are taken from [LOADRUN_CALIBRATION]",
    )
    data.add_argument(
        "--list",
        metavar="FILE",
        help="take the images of DIR that FILE names, one a line, as MLPerf's"
        " cal_image_list_option_1.txt; else up to 200, evenly spread",
    )
    add(parser, _task_options())
    engine = parser.add_argument_group("engine")
    compiled_for = engine.add_argument(
        "--engine",
        default="onednn",
        metavar="NAME",
        help="what to compile for: onednn (default), or pytorch, which compiles nothing",
    )
    offer(compiled_for, lambda: ENGINES)
    add_batches(engine, "compile ")


def execute(arguments: argparse.Namespace) -> int:
    """Calibrate and compile what the cache does not have yet, and print where it is."""
    options = read_options(arguments)
    # Only now, so that a wrong option is answered at once.
    from launch.build.alone import ArtifactOptions, build_alone

    build_alone(
        ArtifactOptions(
            options.model,
            options.sources,
            options.engine,
            "int8",
            options.batch_size,
            options.threads,
        ),
        lambda engine: announcement(options, engine),
        summary,
    )
    return 0


def _task_options() -> dict[str, Option]:
    """What tasks declare, but for the truth: ranges are taken of what there is to answer."""
    own = {option.name for option in models.options.declared()}
    options = Sources.options().items()
    return {name: option for name, option in options if name in own and not option.of_data}


def read_options(arguments: argparse.Namespace) -> CalibrateOptions:
    """The checked options; InputError names the option, its value and the cure."""
    model = model_of(arguments)
    task = models.get(model)
    flag, _, _ = (usage := data_option(task)).partition(" ")
    places = {Sources.options()[name].variable for name in ("data", "images", "calibration")}
    given = {name: getattr(arguments, name) for name in ("weights", *_task_options())}
    sources = find_sources(task, given, {k: v for k, v in os.environ.items() if k not in places})
    wanted = "directory" if task.items == "images" else "directory or file"
    data = find_path(flag, arguments.data, "LOADRUN_CALIBRATION", os.environ, wanted)
    if data is None and arguments.list is None and (sources.calibration or sources.served):
        # What stands below MLPERF_SCRATCH_PATH is what a run would take ranges from.
        return CalibrateOptions(
            model=model,
            sources=sources,
            engine=one_of("--engine", arguments.engine, ENGINES),
            batch_size=arguments.batch_size,
            threads=arguments.threads,
        )
    if sources.weights is not None and data is None:
        raise InputError(
            f"--weights {sources.weights}: calibration {task.items} are missing (give {usage})"
        )
    names = find_path("--list", arguments.list, "", {}, "file")
    if names is not None and data is None:
        raise InputError(f"--list {names}: the folder of {task.items} is missing (give {usage})")
    return CalibrateOptions(
        model=model,
        sources=replace(sources, data=data if names else None, calibration=names or data),
        engine=one_of("--engine", arguments.engine, ENGINES),
        batch_size=arguments.batch_size,
        threads=arguments.threads,
    )


def announcement(options: CalibrateOptions, engine: str) -> list[str]:
    """The coming calibration, as lines for a person; `engine` is the line about the engine."""
    from launch.screen.announcement import embedded, weights_of

    sources = options.sources
    data = sources.data or sources.calibration
    lines = [
        f"{models.title(options.model)}  int8 calibration",
        f"  weights: {weights_of(options.model, sources.weights)}",
        f"  calibration {models.get(options.model).items}: {data or embedded(options.model)}",
        engine,
    ]
    if data and not sources.weights:
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
