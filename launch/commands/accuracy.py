"""`loadrun accuracy LOG`: the accuracy of an accuracy log, whoever wrote it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import models
from base.errors import ExitCode, InputError
from launch.commands.arguments import add_data, one_of
from launch.options import Sources, find_sources
from launch.options.declare import offer
from launch.options.sources import data_option

if TYPE_CHECKING:
    from launch.screen.terminal import Terminal
    from models.imagenet.accuracy import ClassResult

SUMMARY = "print the accuracy of an accuracy log, in the official wording"
DESCRIPTION = """\
Compares the answers in LOG (LoadGen's mlperf_log_accuracy.json, of this or any other harness) with
LABELS ('name label' lines in the order of the sample indices, as val_map.txt), as the reference's
accuracy-imagenet.py does: each sample counts once, with its first answer. Where the answers fit
something else than the labels, that is said.

With --task instead of LABELS the answers are those of that task or benchmark to its data (--data or
--images), and scored as `loadrun run` scores them.
"""
EPILOG = """\
examples:
  loadrun accuracy results/offline/resnet50/accuracy/mlperf_log_accuracy.json val_map.txt
  loadrun accuracy mlperf_log_accuracy.json val_map.txt --dtype float32 --details
  loadrun accuracy mlperf_log_accuracy.json --task resnet50 --images val --labels val_map.txt

exit codes: 0 done; 2 bad usage or input; 3 the accuracy means nothing: it is said why.
"""
DTYPES = ("int32", "int64", "float32")
WORST = 20
"""Classes that --details lists, and confusions."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun accuracy` accepts."""
    parser.add_argument("log", metavar="LOG", type=Path, help="mlperf_log_accuracy.json")
    parser.add_argument(
        "truth", metavar="LABELS", nargs="?", type=Path, help="file of 'name label' lines"
    )
    task = parser.add_argument("--task", metavar="NAME", help="the task or benchmark answered")
    offer(task, models.choices)
    dtype = parser.add_argument(
        "--dtype",
        metavar="TYPE",
        help="with LABELS: type of an answer in LOG, int32 (default, what loadrun writes), int64 or"
        " float32 (what the reference writes)",
    )
    offer(dtype, lambda: DTYPES)
    parser.add_argument(
        "--details",
        action="store_true",
        help=f"with LABELS: before it, the {WORST} worst classes and what they were taken for",
    )
    add_data(parser, "calibration", weights="weights that answered, where the data depend on them")


def execute(arguments: argparse.Namespace) -> int:
    """Read, score, print; the accuracy is the last line."""
    from launch.screen.terminal import Terminal

    terminal = Terminal()
    doubts = _of_task if arguments.task is not None else _of_labels
    found = doubts(arguments, terminal)
    return ExitCode.INVALID if found else ExitCode.OK


def _of_labels(arguments: argparse.Namespace, terminal: Terminal) -> Sequence[str]:
    """Print the top-1 accuracy, and return why it means nothing."""
    from models.imagenet.accuracy import by_class, count, read_answers
    from models.imagenet.doubt import doubts, log_doubts
    from models.imagenet.labels import read_labels

    if arguments.truth is None:
        raise InputError("LABELS is missing: give it, or --task NAME with its data")
    if given := _given(arguments):
        raise InputError(f"{given}: is for --task NAME, not for LABELS")
    dtype = one_of("--dtype", arguments.dtype or DTYPES[0], DTYPES)
    labels = [label for _, label in read_labels(arguments.truth)]
    answers = read_answers(arguments.log, dtype)
    accuracy = count(arguments.log, answers, labels)
    if arguments.details:
        _show_worst(terminal, by_class(answers, labels))
    found = doubts(answers, labels)
    if found:
        found += log_doubts(arguments.log, dtype, labels)
    _show(terminal, found, str(accuracy))
    return found


def _of_task(arguments: argparse.Namespace, terminal: Terminal) -> Sequence[str]:
    """Print the score of a task, and return why it means nothing."""
    from launch.build.prepare import task_sources
    from launch.outcome.summary import target_line
    from models.accuracy_log import LoggedAnswers

    task = models.get(arguments.task)
    if arguments.truth is not None:
        cure = data_option(task)
        raise InputError(f"{arguments.truth}: LABELS and --task exclude each other (give {cure})")
    for flag in ("dtype", "details"):
        if getattr(arguments, flag):
            raise InputError(f"--{flag}: is for LABELS, not for --task")
    names = (name for name in Sources.options() if name != "calibration")
    sources = find_sources(task, {name: getattr(arguments, name) for name in names})
    if sources.served is None:
        raise InputError(
            f"--task {arguments.task}: its data are missing (give {data_option(task)})"
        )
    if sources.weights is not None:
        task = task.fitting(sources.weights)
    data = task.data(task_sources(sources))
    if not data.scored:
        raise InputError(f"{sources.served}: no {task.truths}, so no accuracy: {data.truth}")
    score, benchmark = (
        task.score(LoggedAnswers(arguments.log), data),
        task.benchmark(arguments.task),
    )
    if score.scored == len(data) == benchmark.samples:
        terminal.line(target_line(benchmark.metric, score.value, benchmark.target))
    _show(terminal, score.doubts, score.line)
    return score.doubts


def _given(arguments: argparse.Namespace) -> str:
    """The first option on data that was given, as its words; "" where none was."""
    for name, option in Sources.options().items():
        value = getattr(arguments, name, None)
        if value not in (None, False, option.default):
            return " ".join(option.words(value)).replace("=", " ", 1)
    return ""


def _show(terminal: Terminal, doubts: Sequence[str], accuracy: str) -> None:
    terminal.lines(f"accuracy means nothing: {text}" for text in doubts)
    terminal.line(accuracy)


def _show_worst(terminal: Terminal, classes: Sequence[ClassResult]) -> None:
    from rich.table import Table

    whole = sum(result.good == result.total for result in classes)
    terminal.line(f"{len(classes)} classes, {whole} of them without a wrong answer; the worst:")
    table = Table("class", "right", "of", "accuracy", "taken for (times)", box=None)
    for result in sorted(classes, key=_badness):
        if result.good == result.total or len(table.rows) == WORST:
            break
        taken = ", ".join(f"{found} ({times})" for found, times in result.confusions[:3])
        share = f"{100 * result.good / result.total:.1f}%"
        table.add_row(str(result.label), str(result.good), str(result.total), share, taken)
    terminal.table(table)


def _badness(result: ClassResult) -> tuple[float, int, int]:
    """Least accurate first; of equals the one with more samples, which says more."""
    return result.good / result.total, -result.total, result.label
