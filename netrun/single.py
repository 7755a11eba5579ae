"""An engine inside another process: SingleStream has never more than one query to serve."""

from __future__ import annotations

from collections.abc import Callable

from netrun.answers import pack
from netrun.batch import ArenaBatch
from netrun.config import NetrunConfig
from netrun.engines import Answer
from netrun.loading import load
from netrun.pulse import Pulse
from netrun.report import StartClock, write_report
from shm.arena import SampleArena

Infer = Callable[[list[int], SampleArena], Answer]


def load_engine(config: NetrunConfig, most: int, pulse: Pulse | None = None) -> Infer:
    """Load and prepare the engine, and report on it; the result answers ``(positions, arena)``.

    `most` is the longest answer in bytes; `pulse` sees the steps of a batch. Raises EngineError.
    """
    clock = StartClock()
    clock.reached("imported")
    engine, answer = load(config, pulse)
    clock.reached("prepared")
    write_report(config, engine, None, clock)

    def infer(positions: list[int], arena: SampleArena) -> Answer:
        return pack(answer(ArenaBatch(arena, positions)), len(positions), most)

    return infer
