"""`loadrun run-local ...`: a run in the words of MLPerf's reference implementations."""

from __future__ import annotations

import argparse
import os

SUMMARY = "run a test in the words of the reference's run_local.sh"
DESCRIPTION = """\
Takes BACKEND MODEL [DATASET] DEVICE and the flags of the reference's main.py (image classification,
detection, DLRM), and runs `loadrun run` with what they are here, which is printed. Weights and data
are those of MODEL_DIR and DATA_DIR, results go to OUTPUT_DIR, options in EXTRA_OPS come first.
Flags that are none of the reference's are `loadrun run`'s.
"""
EPILOG = """\
examples:
  loadrun run-local pytorch dlrm terabyte cpu --accuracy
  loadrun run-local onednn resnet50 cpu --scenario Offline --count 500
  loadrun run-local pytorch dlrm terabyte cpu --time 10 --max-latency 0.2 --scenario SingleStream

exit codes: as of `loadrun run`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the reference's words, which are read later."""
    parser.add_argument(
        "words",
        metavar="BACKEND MODEL [DATASET] DEVICE [options]",
        nargs=argparse.REMAINDER,
        help="as of the reference's run_local.sh",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Translate, print, run."""
    from launch.cli import main
    from launch.reference.words import translate
    from launch.screen.terminal import Terminal

    found = translate(arguments.words, os.environ)
    terminal = Terminal()
    for note in found.notes:
        terminal.line(f"note: {note}")
    terminal.line(f"loadrun run {' '.join(found.words)}")
    return main(["run", *found.words])
