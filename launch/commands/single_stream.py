"""`loadrun single-stream MODEL`: the SingleStream scenario, in one process by default."""

from __future__ import annotations

import argparse

from launch.commands import run

SUMMARY = "run the SingleStream scenario, in one process"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` accepts, without the scenario."""
    run.add_run_arguments(parser)
    run.add_mode(parser)
    parser.description = "Runs MLPerf's SingleStream scenario: one query after the other.\n"
    parser.epilog = "example:\n  loadrun single-stream resnet50 --fast\n"
    parser.set_defaults(scenario="SingleStream")


def execute(arguments: argparse.Namespace) -> int:
    """Run it."""
    return run.execute(arguments)
