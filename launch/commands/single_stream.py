"""`loadrun single-stream MODEL`: the SingleStream scenario, in one process by default."""

from __future__ import annotations

import argparse

from launch.commands import run

SUMMARY = "run the SingleStream scenario, in one process"
DESCRIPTION = "Runs MLPerf's SingleStream scenario: one query after the other.\n"
EPILOG = "example:\n  loadrun single-stream resnet50 --fast\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` accepts, without the scenario."""
    run.add_run_arguments(parser)
    run.add_mode(parser)
    parser.set_defaults(scenario="SingleStream")


def execute(arguments: argparse.Namespace) -> int:
    """Run it."""
    return run.execute(arguments)
