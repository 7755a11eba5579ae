"""`python -m bench.parts.bare CONFIG.json`: loadrun's SingleStream in one process, engine null."""

from __future__ import annotations

import sys

from loadrun.config import LoadrunConfig
from loadrun.process import run_in_process
from loadrun.sut import Answer
from netrun.answers import pack
from netrun.batch import ArenaBatch
from netrun.engines.null import ANSWER_BYTES, NullEngine
from shm.arena import SampleArena


def main() -> int:
    """Run one test; the report is loadrun's."""
    config = LoadrunConfig.load(sys.argv[1])
    engine = NullEngine(config.batch_size)

    def infer(positions: list[int], arena: SampleArena) -> Answer:
        return pack(engine.answer(ArenaBatch(arena, positions)), len(positions), ANSWER_BYTES)

    return run_in_process(config, infer)


if __name__ == "__main__":
    sys.exit(main())
