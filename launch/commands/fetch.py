"""`loadrun fetch MODEL`: download published weights, and data that may be downloaded."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import models
from base.errors import InputError
from launch.build.cache import expanded
from launch.commands.arguments import EXIT_CODES, add_model, model_of
from launch.options import RunOptions
from launch.options.declare import offer
from loadrun.durations import took

if TYPE_CHECKING:
    from launch.screen.terminal import Terminal
    from models.published import DataFolder, PublishedFile
    from models.task import Task

SUMMARY = "download published weights of a model, and its data, checked and resumable"
DESCRIPTION = """\
Downloads MLPerf's reference weights of MODEL, or another published file, or with --data its data
set, and checks what arrives against the published checksum, where one is published. A download
that was cut short goes on where it ended; a file that is there already is only checked. Where a
licence must be accepted, it says where, and where to put the files.

With MLPERF_SCRATCH_PATH set, files go to its models/ and data/, where runs find them.
"""
EPILOG = f"""\
examples:
  loadrun fetch resnet50 --list
  loadrun fetch resnet50 --file resnet50-0676ba61.pth --to weights
  loadrun run resnet50 --weights weights/resnet50-0676ba61.pth --images val
  loadrun fetch bert --data

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun fetch` accepts."""
    add_model(parser)
    offer(parser.add_argument("--file", metavar="NAME", help="another file of --list"), _published)
    parser.add_argument(
        "--data", action="store_true", dest="of_data", help="the data set instead of weights"
    )
    parser.add_argument(
        "--to",
        metavar="DIR",
        help="default: models/MODEL or data/NAME of MLPERF_SCRATCH_PATH, else of the cache",
    )
    parser.add_argument(
        "--list", action="store_true", help="show what is published, and from where"
    )


def _published() -> Iterable[str]:
    names = (file.name for model in models.names() for file in _files(models.get(model)))
    return dict.fromkeys(names)


def _files(task: Task) -> tuple[PublishedFile, ...]:
    return task.published + (task.dataset.files if task.dataset else ())


def execute(arguments: argparse.Namespace) -> int:
    """Download and say how to use it."""
    from launch.build.places import data_folder, weights_folder
    from launch.screen.terminal import Terminal

    task = models.get(model_of(arguments))
    terminal = Terminal()
    if arguments.list:
        terminal.lines(listing(task, data_folder))
        return 0
    to = expanded(arguments.to, "--to").absolute() if arguments.to else None
    if arguments.of_data and arguments.file:
        raise InputError(f"--data and --file {arguments.file} exclude each other: leave one out")
    if arguments.of_data:
        folder = _dataset(task)
        _fetch_data(task, folder, to or data_folder(folder.name), terminal)
        return 0
    known = {file.name: file for file in _files(task)}
    if not known:
        raise InputError(f"{task.name}: no weights are published for it")
    name = arguments.file or next(iter(known))
    if name not in known:
        near = get_close_matches(name, known, 1, 0.0)[0]
        raise InputError(f"--file {name}: not among the published (nearest: {near}; see --list)")
    chosen = [known[name]]
    if arguments.file is None:
        chosen += [file for file in task.published if file.beside]
    of_data = task.dataset is not None and known[name] in task.dataset.files
    default = data_folder(task.dataset.name) if of_data and task.dataset else weights_folder(task)
    directory = to or default
    for file in chosen:
        _fetch(file, directory, terminal)
    option = next(iter(_options_at(task.dataset, directory)), "") if of_data else ""
    use = option or f"--weights {directory / name} {_data_of(task)}"
    terminal.line(f"use it: loadrun run {task.name} {use}")
    return 0


def listing(task: Task, folder_of: object) -> Iterator[str]:
    """What is published of a task, for a person; `folder_of` gives the folder of a data set."""
    for file in task.published:
        yield f"{file.name}  {file.what}\n  {file.url}"
    if task.dataset is None:
        return
    assert callable(folder_of)
    yield f"data: {task.dataset.title}, in {folder_of(task.dataset.name)}"
    for file in task.dataset.files:
        yield f"{file.name}  {file.what}\n  {file.url}"
    if task.dataset.terms:
        yield f"  {task.dataset.terms}"


def _dataset(task: Task) -> DataFolder:
    if task.dataset is None:
        raise InputError(f"{task.name}: no data set is known that may be downloaded")
    return task.dataset


def _data_of(task: Task) -> str:
    from launch.options.sources import data_option

    return data_option(task)


def _fetch(file: PublishedFile, directory: Path, terminal: Terminal) -> None:
    from launch.build.download import download

    terminal.line(f"{file.url}")
    began = time.monotonic()
    with terminal.bar("fetching") as bar:

        def progress(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            bar.update(done, total, f"{done / 1e6:.1f}{of} MB")

        new = download(file, directory, progress, terminal.line)
    how = f"fetched in {took(time.monotonic() - began)}" if new else "already there"
    checked = "checksum right" if file.checksum or file.record else "no checksum is published"
    terminal.line(f"{how}, {checked}: {directory / file.name}")


def _fetch_data(task: Task, data: DataFolder, directory: Path, terminal: Terminal) -> None:
    """Get all that may be downloaded; InputError that says where the rest comes from."""
    from launch.build.download import download_all
    from launch.build.unpack import is_unpacked, unpack

    terminal.line(f"{data.title}: {directory}")
    for file in data.files:
        if file.unpacks_to is not None and is_unpacked(file, directory):
            terminal.line(f"already there, unpacked: {file.name}")
            continue
        _fetch(file, directory, terminal)
        if file.unpacks_to is not None:
            unpack(file, directory)
            terminal.line(f"unpacked: {directory / file.unpacks_to}")
    if data.listed is not None:
        files = data.listed(directory)
        began = time.monotonic()
        with terminal.bar("fetching") as bar:

            def progress(done: int, total: int | None) -> None:
                bar.update(done, total, f"{done:,} of {len(files):,} files")

            new = download_all(files, directory, progress, terminal.line)
        took_s = took(time.monotonic() - began)
        terminal.line(f"{len(files):,} files, {new:,} of them new, in {took_s}")
    there = list(_options_at(data, directory))
    if data.terms:
        missing = [
            data.places[name] for name in data.places if not any(directory.glob(data.places[name]))
        ]
        if missing:
            raise InputError(
                f"{data.title}: its licence must be accepted, so that it is not downloaded:"
                f" {data.terms}, all in {directory} (missing: {', '.join(missing)})"
            )
    terminal.line(f"use it: loadrun run {task.name} {' '.join(there)}")


def _options_at(data: DataFolder | None, directory: Path) -> Iterator[str]:
    """The options of a run that name what is in the folder of a data set."""
    known = RunOptions.options()
    for name, pattern in data.places.items() if data else ():
        for path in sorted(directory.glob(pattern))[:1] if name in known else ():
            yield f"{RunOptions.flag(name)} {path}"
