"""An ONNX file as another network for the data and the metric of an ImageNet classifier."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import InputError
from base.text import slug
from models.imagenet.classifier import LOGITS, NETWORK, Classifier
from models.imagenet.pictures import PIXELS
from models.own.names import OwnName
from models.task import Array, Batch, DataSet, Field, Network, Part, Run, Score, Sources, Task

CLASSES = 1000
"""Where there is one output more, the first is the background."""


class OnnxNetwork(Task):
    """The network of a file; images are preprocessed, and answers scored, as those of `like`."""

    unit = "images"
    items = "images"
    like: Classifier
    answer_bytes = Classifier.answer_bytes

    def __init__(self, file: Path, like: Classifier, name: str) -> None:
        self.name = name
        self.title = f"{file.name} (as {like.name})"
        self.network_file = file
        self.like = like
        self.benchmarks = like.benchmarks
        # The number of classes stands in the file, which an instance need not read.
        self.parts = (
            Part(
                NETWORK,
                (Field(PIXELS, "|u1", like.sample.shape),),
                (Field(LOGITS, "<f4", (None,)),),
            ),
        )

    def data(self, sources: Sources) -> DataSet:
        """As those of `like`."""
        return self.like.data(self._real(sources))

    def calibration(self, sources: Sources) -> DataSet:
        """As those of `like`; of the served images where none are given."""
        return self.like.calibration(self._real(sources))

    def weights(self, sources: Sources) -> Path | None:
        """The file: nothing else holds them. Raises InputError where others are given."""
        if sources.weights is not None:
            raise InputError(f"{sources.weights}: {self.network_file} has weights of its own")
        return self.network_file

    def embed(self, sources: Sources, progress: Callable[[int, int], None]) -> None:
        """Draw the synthetic images where none are given."""
        self.like.embed(self._real(sources), progress)

    def graph(self, part: str, weights: Path | None) -> Path:
        """The file's network over samples of the arena, as an ONNX file."""
        from models.own.onnx_pixels import over_pixels

        assert self.network_file is not None
        return over_pixels(self.network_file, self.like.sample)

    def module(self, part: str, weights: Path | None) -> Network:
        """The same where the file is of the architecture of `like`. Raises WeightsError."""
        from models.weights.onnx_file import read_graph
        from models.weights.onnx_layers import head

        assert self.network_file is not None
        classes = len(head(read_graph(self.network_file)).weight)
        return replace(self.like, classes=classes).graph(part, self.network_file)

    def sizes(self, weights: Path | None) -> Mapping[str, Any]:
        """The number of classes."""
        from models.weights.onnx_file import read_graph
        from models.weights.onnx_layers import head

        assert self.network_file is not None
        return {"classes": len(head(read_graph(self.network_file)).weight)}

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> Network:
        """The network of `like`, untrained."""
        return replace(self.like, classes=int(sizes["classes"])).skeleton(part, {})

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Array:
        """The class of each sample, int32; -1 is the background."""
        logits = run[NETWORK](pixels=batch.views(PIXELS))[LOGITS]
        best: Array = logits.argmax(axis=1).astype(np.int32)
        return best - np.int32(logits.shape[1] - CLASSES)

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Top-1 accuracy, in percent."""
        return self.like.score(answers, data)

    def _real(self, sources: Sources) -> Sources:
        return replace(sources, weights=self.network_file)


def load(name: OwnName, like: Task, taken: Collection[str]) -> Task:
    """The task of an ONNX file, like a classifier; its name is the file's unless that is taken.

    Raises InputError where `like` is something else.
    """
    if not isinstance(like, Classifier):
        raise InputError(f"--like {name.meant}: {like.title} does not classify images of ImageNet")
    stem = name.file.stem
    return OnnxNetwork(name.file, like, f"{stem}-onnx" if slug(stem) in taken else stem)
