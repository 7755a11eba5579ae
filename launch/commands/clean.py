"""`loadrun clean`: remove what runs that died left behind."""

from __future__ import annotations

import argparse
from pathlib import Path

from launch.commands.arguments import EXIT_CODES, add_like_run

SUMMARY = "remove shared memory and unfinished results of runs that died"
DESCRIPTION = """\
Removes shared-memory segments whose owner is dead and files the results of killed runs under
'failed'. Runs that are alive and files of others are never touched. A run does the same before it
starts: this is for what must be gone now.
"""
EPILOG = f"""\
examples:
  loadrun clean
  loadrun clean --results /data/results   # where runs were given --results /data/results

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --results."""
    add_like_run(parser, "", "results")


def execute(arguments: argparse.Namespace) -> int:
    """Clean up and say what was done."""
    from launch.outcome.results import file_abandoned
    from shm.reclaim import find_runs, reclaim

    removed = reclaim()
    for name in removed:
        print(f"removed /dev/shm/{name}")
    for place in file_abandoned(Path(arguments.results).absolute()):
        print(f"interrupted run is now in {place}")
    for run in find_runs():
        print(f"left alone: run {run.run_id} of process {run.owner_pid}, which is alive")
    if not removed:
        print("no stale segments")
    return 0
