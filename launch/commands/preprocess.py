"""`loadrun preprocess MODEL`: turn raw data into samples, once."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import models
from base.errors import InputError
from launch.commands.arguments import EXIT_CODES, add_data, add_model, model_of
from launch.options import Sources, find_sources
from launch.options.sources import data_option
from loadrun.durations import took

if TYPE_CHECKING:
    from launch.build.assets import SampleFacts

SUMMARY = "preprocess a data set and keep the samples for later runs"
DESCRIPTION = """\
Makes samples of all that --data (--images) holds as MLPerf's reference does, on all processors, in
the cache; a later run with the same data maps them and starts at once. What an interrupt or a bad
image leaves undone is all that is done the next time. Images that cannot be used are named together
at the end.

Images are decoded, scaled and cropped. They lie in DIR, or in a sub-folder for each class. --labels
holds 'name label' lines; without it, a val_map.txt, val.txt or labels.txt in DIR serves, or the
names of the sub-folders.
"""
EPILOG = f"""\
examples:
  loadrun preprocess resnet50 --images imagenet/val --labels val_map.txt
  loadrun run resnet50 --mode AccuracyOnly --images imagenet/val --labels val_map.txt

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun preprocess` accepts."""
    add_model(parser)
    add_data(
        parser,
        "calibration",
        weights="preprocess for these: TensorFlow's want other samples",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Preprocess, and say where the samples stand."""
    name = model_of(arguments)
    task = models.get(name)
    given = {name: getattr(arguments, name, None) for name in Sources.options()}
    sources = find_sources(task, given)
    if sources.served is None:
        flag, _, _ = data_option(task).partition(" ")
        what = "the folder of images" if task.items == "images" else f"the {task.items}"
        variable = Sources.options()[flag.removeprefix("--")].variable
        raise InputError(f"{flag} is missing: give {what} (or set {variable})")
    # Only now, so that a wrong option is answered at once.
    from launch.build.prepare import build, wanted
    from launch.screen.terminal import Terminal
    from launch.supervise.signals import Signals

    terminal = Terminal()
    terminal.line(f"{models.title(name)}  preprocessing {sources.served}")
    began = time.monotonic()
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="loadrun-") as directory:
        assets = build(wanted(name, sources, samples=True), Path(directory), terminal, signals)
    terminal.lines(summary(assets.samples, task.items, time.monotonic() - began))
    return 0


def summary(samples: SampleFacts, items: str, took_s: float) -> list[str]:
    """The prepared samples, and how fast they came, as lines for a person."""
    size = sum(file.stat().st_size for file in Path(samples.path).iterdir()) / 1e6
    lines = [f"samples: {samples.count} of {samples.data.name}, {size:.0f} MB", f"  {samples.path}"]
    if not samples.prepared:
        return [*lines, f"all there already (looked up in {took(took_s)})"]
    rate = samples.prepared / took_s
    cores = len(os.sched_getaffinity(0))
    lines.append(
        f"preprocessed {samples.prepared} in {took(took_s)}: {rate:.0f} {items}/s, "
        f"{rate / cores:.0f} on each of {cores} processors"
    )
    return lines
