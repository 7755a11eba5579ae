"""An image classification model as a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import models
from models.model import Model
from models.task import Array, Batch, DataSet, Field, Part, Run, Score, Sources, Task

if TYPE_CHECKING:
    import torch


class ClassifierTask(Task):
    """Answers each sample with what the model's postprocessing makes of the logits."""

    benchmarks = ()

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name, self.title, self.aliases = model.name, model.title, model.aliases
        self.answer_bytes = model.response_bytes
        image = Field("image", "|u1", model.sample.shape)
        self.parts = (Part("network", (image,), (Field("logits", "<f4", (model.classes,)),)),)

    def data(self, sources: Sources) -> DataSet:
        """Not here."""
        raise NotImplementedError

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The network over prepared pixels."""
        from models.pixels import OverPixels

        model = self.model
        network = model.network() if weights is None else model.load_weights(weights)
        return OverPixels(network, model.sample).eval()

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[bytes | Array]:
        """The classes of a batch."""
        logits = run["network"](image=batch.views("image"))["logits"]
        payload, _ = self.model.postprocess(logits)
        return list(payload)

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Not here."""
        raise NotImplementedError


def task_of(name: str) -> ClassifierTask:
    """The task of a model; raises UnknownModel."""
    return ClassifierTask(models.get(name))
