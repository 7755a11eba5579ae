"""`loadrun accuracy LOG LABELS`: top-1 accuracy of an accuracy log, whoever wrote it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import ExitCode
from launch.commands.arguments import one_of
from launch.options.declare import offer

if TYPE_CHECKING:
    from launch.screen.terminal import Terminal
    from models.imagenet.accuracy import ClassResult

SUMMARY = "print the top-1 accuracy of an accuracy log, in the official wording"
DESCRIPTION = """\
Compares the answers in LOG (LoadGen's mlperf_log_accuracy.json, of this or any other harness) with
LABELS ('name label' lines in the order of the sample indices, as val_map.txt), as the reference's
accuracy-imagenet.py does: each sample counts once, with its first answer. Where the answers fit
something else than the labels, that is said.
"""
EPILOG = """\
examples:
  loadrun accuracy results/offline/resnet50/accuracy/mlperf_log_accuracy.json val_map.txt
  loadrun accuracy mlperf_log_accuracy.json val_map.txt --dtype float32 --details

exit codes: 0 done; 2 bad usage or input; 3 the accuracy means nothing: it is said why.
"""
DTYPES = ("int32", "int64", "float32")
WORST = 20
"""Classes that --details lists, and confusions."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun accuracy` accepts."""
    parser.add_argument("log", metavar="LOG", type=Path, help="mlperf_log_accuracy.json")
    parser.add_argument("labels", metavar="LABELS", type=Path, help="file of 'name label' lines")
    dtype = parser.add_argument(
        "--dtype",
        default="int32",
        metavar="TYPE",
        help="type of an answer in LOG: int32 (default, what loadrun writes), int64 or float32"
        " (what the reference writes)",
    )
    offer(dtype, lambda: DTYPES)
    parser.add_argument(
        "--details",
        action="store_true",
        help=f"before it, the {WORST} worst classes and what they were taken for",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Read, count, print; the accuracy is the last line."""
    from launch.screen.terminal import Terminal
    from models.imagenet.accuracy import count, read_answers
    from models.imagenet.doubt import doubts, log_doubts
    from models.imagenet.labels import read_labels

    dtype = one_of("--dtype", arguments.dtype, DTYPES)
    labels = [label for _, label in read_labels(arguments.labels)]
    answers = read_answers(arguments.log, dtype)
    accuracy = count(arguments.log, answers, labels)
    terminal = Terminal()
    if arguments.details:
        from models.imagenet.accuracy import by_class

        _show_worst(terminal, by_class(answers, labels))
    found = doubts(answers, labels)
    if found:
        found += log_doubts(arguments.log, dtype, labels)
    terminal.lines(f"accuracy means nothing: {text}" for text in found)
    terminal.line(str(accuracy))
    return ExitCode.INVALID if found else ExitCode.OK


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
