"""`loadrun single-stream MODEL`: the SingleStream scenario, in one process by default."""

from __future__ import annotations

import argparse

from launch.commands import run
from loadrun.scenarios import SINGLE_STREAM

SUMMARY = "run the SingleStream scenario, in one process"
DESCRIPTION = """\
Runs MLPerf's SingleStream scenario: one query after the other, judged by the 90th percentile of
their latencies. LoadGen and the engine share one process (--through-ring puts an instance behind a
ring instead), which by default is as wide as a memory node; --cores sets another width.
"""
EPILOG = """\
examples:
  loadrun single-stream resnet50 --fast
  loadrun single-stream resnet50 --cores 4 --time 120
  loadrun single-stream mobilenet --mode AccuracyOnly --images val --labels val_map.txt

exit codes: 0 VALID, or accuracy measured; 2 bad usage, configuration or input; 3 the test completed
and is INVALID; 4 the run failed; 130 interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` accepts, without the scenario."""
    run.add_arguments(parser, scenario=SINGLE_STREAM.name)


def execute(arguments: argparse.Namespace) -> int:
    """Run it."""
    return run.execute(arguments)
