"""From a configuration to an engine that is ready, and how it answers batches."""

from __future__ import annotations

from pathlib import Path

import models
from netrun.config import NetrunConfig
from netrun.engines import registry
from netrun.engines.engine import Answering, AnswersOf, Engine, EngineSpec, answers
from netrun.pulse import Pulse


def load(config: NetrunConfig, pulse: Pulse | None = None) -> tuple[Engine | Answering, AnswersOf]:
    """The engine that `config` names, and what answers a batch of its task. Raises EngineError.

    `pulse` sees the steps of a batch, where the task has such.
    """
    task = models.get(config.model)
    spec = EngineSpec(
        task,
        config.precision,
        Path(config.artifact),
        config.batch_size,
        config.threads,
        seed=config.instance,
        service=config.sim,
    )
    engine = registry.load(config.engine, spec)
    return engine, answers(task, engine, pulse)
