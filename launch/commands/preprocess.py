"""`loadrun preprocess MODEL`: turn a folder of images into samples, once."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import models
from base.errors import InputError
from launch.commands.arguments import EXIT_CODES, add_model, model_of
from launch.options import find_sources
from loadrun.durations import took

if TYPE_CHECKING:
    from launch.build.assets import SampleFacts

SUMMARY = "preprocess a folder of images and keep the samples for later runs"
DESCRIPTION = """\
Decodes, scales and crops every image as MLPerf's reference does, on all processors, into one file
of the cache; a later run with the same --images and --labels maps it and starts at once. What an
interrupt or a bad image leaves undone is all that is done the next time. Images that cannot be used
are named together at the end.

The images lie in DIR, or in a sub-folder for each class. FILE holds 'name label' lines; without
--labels, a val_map.txt, val.txt or labels.txt in DIR serves, or the names of the sub-folders.
"""
EPILOG = f"""\
examples:
  loadrun preprocess resnet50 --images imagenet/val --labels val_map.txt
  loadrun run resnet50 --mode AccuracyOnly --images imagenet/val --labels val_map.txt

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun preprocess` accepts."""
    add_model(parser)
    parser.add_argument("--images", metavar="DIR", help="the images [LOADRUN_IMAGES]")
    parser.add_argument("--labels", metavar="FILE", help="'name label' lines [LOADRUN_LABELS]")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="preprocess for these: TensorFlow's want other samples [LOADRUN_WEIGHTS]",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Preprocess, and say where the samples stand."""
    name = model_of(arguments)
    sources = find_sources(arguments.weights, arguments.images, arguments.labels, None)
    if sources.images is None:
        raise InputError("--images is missing: give the folder of images (or set LOADRUN_IMAGES)")
    # Only now, so that a wrong option is answered at once.
    from launch.build.prepare import build, wanted
    from launch.screen.terminal import Terminal
    from launch.supervise.signals import Signals

    terminal = Terminal()
    terminal.line(f"{models.get(name).title}  preprocessing {sources.images}")
    began = time.monotonic()
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="loadrun-") as directory:
        assets = build(wanted(name, sources, samples=True), Path(directory), terminal, signals)
    terminal.lines(summary(assets.samples, time.monotonic() - began))
    return 0


def summary(samples: SampleFacts, took_s: float) -> list[str]:
    """What is there now, and how fast it came, as lines for a person."""
    size = Path(samples.path).stat().st_size / 1e6
    lines = [f"samples: {samples.count} of {samples.data.name}, {size:.0f} MB", f"  {samples.path}"]
    if not samples.made:
        return [*lines, f"all there already (looked up in {took(took_s)})"]
    rate = samples.made / took_s
    cores = len(os.sched_getaffinity(0))
    lines.append(
        f"preprocessed {samples.made} in {took(took_s)}: {rate:.0f} images/s, "
        f"{rate / cores:.0f} on each of {cores} processors"
    )
    return lines
