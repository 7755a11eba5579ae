"""Where the command `loadrun` begins: finds its own packages before any of the same names.

PYTHONPATH stands before what is installed, and folders called `models` or `launch` are common.
This module imports nothing of them before its own directory stands first.
"""

import sys
from pathlib import Path


def main() -> int:
    """Run the command line; returns the exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from launch.cli import main as run

    return run()
