"""Today's engines as what answers batches, until each offers the parts of a task by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import models
from models.task import Answers, Array, Batch, Run, Task
from netrun.config import NetrunConfig
from netrun.engines import Engine
from netrun.engines.create import create

Answering = Callable[[Batch], Answers]
"""Answers a batch: one item a sample, in its order."""


def load(config: NetrunConfig) -> tuple[Engine, Answering]:
    """The engine that `config` names, ready, and how it answers batches. Raises EngineError."""
    engine = create(config)
    engine.prepare()
    if config.engine in ("null", "sim"):
        return engine, _alone(engine, config.batch_size)
    task: Task = models.get(config.model)
    (part,) = task.parts
    run = {part.name: _network(engine, part.outputs[0].name)}
    return engine, lambda batch: task.infer(run, batch)


def _alone(engine: Engine, most: int) -> Answering:
    """Engines that compute nothing look at no sample."""
    nothing = np.zeros((1, 1), np.uint8)
    infer, zeros = engine.infer, [np.zeros((count, 4), np.uint8) for count in range(most + 1)]

    def answer(batch: Batch) -> Answers:
        positions = batch.positions
        infer(nothing, positions)
        return zeros[len(positions)]

    return answer


def _network(engine: Any, output: str) -> Run:
    forward: Callable[[Array, Sequence[int]], Array]
    if hasattr(engine, "_executor"):
        forward = engine._executor.run
    else:

        def forward(samples: Array, positions: Sequence[int]) -> Array:
            import torch

            with torch.inference_mode():
                logits: Array = engine._forward(samples[list(positions)]).float().numpy()
            return logits

    def run(**inputs: Array | Sequence[Array]) -> Mapping[str, Array]:
        (rows,) = inputs.values()
        samples = rows if isinstance(rows, np.ndarray) else _together(rows)
        return {output: forward(samples, range(len(samples)))}

    return run


def _together(rows: Sequence[Array]) -> Array:
    return rows[0][None] if len(rows) == 1 else np.stack(rows)
