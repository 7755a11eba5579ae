"""`loadrun build MODEL`: make what an engine executes, and say where it is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import models
from base.errors import InputError
from launch.commands.arguments import (
    EXIT_CODES,
    add_batches,
    add_data,
    add_like_run,
    add_model,
    engine_of,
    model_of,
)
from launch.options.declare import group
from launch.options.sources import sources_of
from loadrun.durations import took

if TYPE_CHECKING:
    from launch.build.alone import ArtifactOptions
    from launch.build.assets import Assets

SUMMARY = "build what an engine executes and keep it for later runs"
DESCRIPTION = """\
Loads the weights of MODEL, calibrates them for int8 and compiles the result for this machine, or
whatever else the engine needs, and says where it stands. A later run with the same options finds it
and starts at once. Without --weights and --images the embedded synthetic model and images are used.
"""
EPILOG = f"""\
examples:
  loadrun build resnet50
  loadrun build resnet50 --weights resnet50.pth --images val --calibration imagenet/calibration
  loadrun build mobilenet --precision bf16
  loadrun build resnet50 --batch-size 11 --threads 4

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun build` accepts."""
    add_model(parser)
    add_data(parser)
    add_like_run(
        parser,
        "engine",
        "precision",
        engine="onednn (default for int8) or pytorch (for bf16 and fp32)",
    )
    engine = group(parser, "engine")
    add_batches(engine)


def execute(arguments: argparse.Namespace) -> int:
    """Build the files that the cache does not have yet, and print where they are."""
    options = read_options(arguments)
    # Only now, so that a wrong option is answered at once.
    from launch.build.alone import build_alone

    build_alone(
        options,
        lambda engine: announcement(options, engine),
        lambda assets, took_s: summary(assets, options.precision, took_s),
    )
    return 0


def read_options(arguments: argparse.Namespace) -> ArtifactOptions:
    """The checked options; InputError names the option, its value and the cure."""
    from launch.build.alone import ArtifactOptions
    from launch.build.assets import WITHOUT_ARTIFACT

    model = model_of(arguments)
    engine, precision = engine_of(arguments, model)
    if engine in WITHOUT_ARTIFACT:
        raise InputError(f"--engine {engine}: computes nothing, so that nothing is built for it")
    return ArtifactOptions(
        model=model,
        sources=sources_of(arguments, models.get(model)),
        engine=engine,
        precision=precision,
        batch_size=arguments.batch_size,
        threads=arguments.threads,
    )


def announcement(options: ArtifactOptions, engine: str) -> list[str]:
    """The coming build, as lines for a person; `engine` is the line about the engine."""
    from launch.screen.announcement import weights_of

    lines = [
        f"{models.title(options.model)}  {options.precision}",
        f"  weights: {weights_of(options.model, options.sources.weights)}",
    ]
    if options.precision == "int8":
        # As a run chooses them.
        sources = options.sources
        served = sources.served if sources.weights else None
        lines.append(f"  calibration: {sources.calibration or served or 'synthetic'}")
    return [*lines, engine]


def summary(assets: Assets, precision: str, took_s: float) -> list[str]:
    """Files, keys, origin and time as lines for a person."""
    from launch.build.alone import file_lines, source_lines

    lines = [*file_lines(assets, precision), *source_lines(assets)]
    if any(file.built for file in assets.files):
        return [*lines, f"built in {took(took_s)}"]
    return [*lines, f"already built (looked up in {took(took_s)})"]
