"""`loadrun fetch MODEL`: download published weights."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from difflib import get_close_matches

import models
from base.errors import InputError
from launch.build.cache import expanded
from launch.commands.arguments import EXIT_CODES, add_model
from launch.options.declare import offer
from loadrun.durations import took

SUMMARY = "download published weights of a model, checked and resumable"
DESCRIPTION = """\
Downloads MLPerf's reference weights of MODEL, or another published file, and checks them against
their published checksum. A download that was cut short goes on where it ended; a file that is there
already is only checked.
"""
EPILOG = f"""\
examples:
  loadrun fetch resnet50 --list
  loadrun fetch resnet50 --file resnet50-0676ba61.pth --to weights
  loadrun run resnet50 --weights weights/resnet50-0676ba61.pth --images val

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun fetch` accepts."""
    add_model(parser)
    offer(parser.add_argument("--file", metavar="NAME", help="another file of --list"), _published)
    parser.add_argument("--to", metavar="DIR", help="default: the folder weights of the cache")
    parser.add_argument(
        "--list", action="store_true", help="show what is published, and from where"
    )


def _published() -> Iterable[str]:
    names = (file.name for model in models.names() for file in models.get(model).published)
    return dict.fromkeys(names)


def execute(arguments: argparse.Namespace) -> int:
    """Download and say how to use it."""
    from launch.build.cache import cache_directory
    from launch.build.download import download
    from launch.screen.terminal import Terminal

    model = models.get(arguments.model)
    if arguments.list:
        for file in model.published:
            print(f"{file.name}  {file.what}\n  {file.url}")
        return 0
    known = {file.name: file for file in model.published}
    if not known:
        raise InputError(f"{model.name}: no weights are published for it")
    name = arguments.file or next(iter(known))
    if name not in known:
        near = get_close_matches(name, known, 1, 0.0)[0]
        raise InputError(f"--file {name}: not among the published (nearest: {near}; see --list)")
    directory = expanded(arguments.to, "--to") if arguments.to else cache_directory() / "weights"
    directory = directory.absolute()
    terminal = Terminal()
    terminal.line(f"{known[name].url}")
    began = time.monotonic()
    with terminal.bar("fetching") as bar:

        def progress(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            bar.update(done, total, f"{done / 1e6:.1f}{of} MB")

        new = download(known[name], directory, progress, terminal.line)
    how = f"fetched in {took(time.monotonic() - began)}" if new else "already there"
    terminal.line(f"{how}, checksum right: {directory / name}")
    terminal.line(f"use it: loadrun run {model.name} --weights {directory / name} --images DIR")
    return 0
