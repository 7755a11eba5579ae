"""`python -m bench.parts.bare CONFIG.json`: loadrun's SingleStream in one process, engine null."""

from __future__ import annotations

import sys

from loadrun.config import LoadrunConfig
from loadrun.library import Samples
from loadrun.process import run_in_process
from loadrun.sut import Answer
from netrun.engines.null import NullEngine


def main() -> int:
    """Run one test; the report is loadrun's."""
    config = LoadrunConfig.load(sys.argv[1])
    engine = NullEngine(config.batch_size)

    def infer(positions: list[int], samples: Samples) -> Answer:
        return engine.infer(samples, positions)

    return run_in_process(config, infer)


if __name__ == "__main__":
    sys.exit(main())
