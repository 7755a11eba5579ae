"""Makes the engine that a configuration names, as one that answers batches of the arena."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netrun.classifier import ClassifierTask, task_of
from netrun.config import NetrunConfig
from netrun.engines import Answer, Engine, registry
from netrun.engines.engine import Engine as PartEngine
from netrun.engines.engine import EngineSpec


def create(config: NetrunConfig) -> Engine:
    """The engine that `config` names, loaded; raises EngineError."""
    task = task_of(config.model)
    spec = EngineSpec(
        task,
        config.precision,
        Path(config.artifact),
        config.batch_size,
        config.threads,
        seed=config.instance,
        service=config.sim,
    )
    made: Any = registry.load(config.engine, spec)
    return _Classifying(task, made) if hasattr(made, "part") else made  # type: ignore[no-any-return]


class _Classifying:
    """Answers samples of the arena by a classifier's only part."""

    def __init__(self, task: ClassifierTask, engine: PartEngine) -> None:
        self._model = task.model
        self._run = engine.part("network")
        self.describe = engine.describe

    def prepare(self) -> None:
        """It is ready."""

    def infer(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> Answer:
        """Run the network on ``samples[positions]`` and postprocess its outputs."""
        logits = self._run(image=[samples[p] for p in positions])["logits"]
        return Answer(*self._model.postprocess(logits))
