"""netrun with tasks of the tests, and a stand-in for an engine.

`python ragged_netrun.py NETRUN.json`, or `... NETRUN.json LOADRUN.json` for both in one process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ragged import scaled

import models
from loadrun.config import LoadrunConfig
from loadrun.process import run_in_process
from models.task import Answers, Batch, Task
from netrun import single, worker
from netrun.config import NetrunConfig
from netrun.engines.engine import AnswersOf
from netrun.pulse import Pulse

models.TASKS.update(ragged="ragged:RAGGED", bulky="ragged:BULKY", bulkier="ragged:BULKIER")


class Engine:
    """What is said of an engine."""

    def describe(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def load(config: NetrunConfig, pulse: Pulse | None = None) -> tuple[Any, AnswersOf]:
    """The task of the configuration, with parts that Python computes."""
    task: Task = models.get(config.model)

    def answer(batch: Batch) -> Answers:
        return task.infer({"scaled": scaled}, batch)

    return Engine(), answer


def main() -> int:
    """Be one instance, or the whole run."""
    for module in (worker, single):
        vars(module)["load"] = load
    if len(sys.argv) == 2:
        return worker.main(sys.argv[1:])
    config = LoadrunConfig.load(Path(sys.argv[2]))
    infer = single.load_engine(NetrunConfig.load(Path(sys.argv[1])), config.response_bytes)
    return run_in_process(config, infer)


if __name__ == "__main__":
    sys.exit(main())
