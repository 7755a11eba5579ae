"""SingleStream in one process: ``python -m launch.single LOADRUN.json NETRUN.json``.

LoadGen and the engine share one process, because there is never a second query to serve
meanwhile. Exit codes and report are those of loadrun.
"""

from __future__ import annotations

import sys
from pathlib import Path

from base.errors import ExitCode
from base.parent import die_with_parent
from loadrun.config import LoadrunConfig
from loadrun.process import run_in_process
from netrun.config import NetrunConfig
from netrun.engines import EngineError
from netrun.pulse import Pulse
from netrun.single import load_engine


def main(arguments: list[str]) -> int:
    """Load the engine, then run LoadGen's test with it; returns the exit code."""
    die_with_parent()
    config = LoadrunConfig.load(arguments[0])
    pulse = Pulse()
    try:
        netrun = NetrunConfig.load(Path(arguments[1]))
        infer = load_engine(netrun, config.response_bytes, pulse)
    except EngineError as error:
        print(f"loadrun: error: {error}", file=sys.stderr)
        return ExitCode.FAILED
    return run_in_process(config, infer, pulse.show_in)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
