"""What the ImageNet classifiers share: data, answers, score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import models
from base.errors import InputError
from models.imagenet.accuracy import Accuracy, accuracy_of
from models.imagenet.dataset import DataSet, image_folder, listed_images
from models.imagenet.doubt import doubts
from models.imagenet.pictures import PIXELS, Pictures, pictures
from models.imagenet.preprocess import decode
from models.published import DataFolder, PublishedFile
from models.sample import Pixels, SampleFormat
from models.task import (
    CALIBRATION_SAMPLES,
    Array,
    Batch,
    Benchmark,
    Field,
    Part,
    Run,
    Score,
    Sources,
    Task,
)
from models.task import DataSet as TaskData

if TYPE_CHECKING:
    import torch

NETWORK = "network"
LOGITS = "logits"
LABELS = "labels"
"""The option that names a label file."""
SYNTHETIC_CALIBRATION = 32
"""Synthetic images that ranges are taken from: they are more alike than others."""


IMAGENET = DataFolder(
    "imagenet",
    "ImageNet's validation set (ILSVRC 2012)",
    {"images": "val", "labels": "val_map.txt", "calibration": "calibration*"},
    terms="ask for access at https://image-net.org/download.php; then put the 50,000 images of"
    " ILSVRC2012_img_val.tar into val, the lines 'name label' into val_map.txt, and MLPerf's list"
    " cal_image_list_option_1.txt (or training images) into calibration.txt (calibration/)",
)


@dataclass(frozen=True, kw_only=True)
class Classifier(Task):
    """An ImageNet classifier: answers each sample with one int32, the class of 0..999."""

    name: str
    title: str
    aliases: tuple[str, ...]
    benchmarks: tuple[Benchmark, ...]
    sample: SampleFormat
    classes: int
    """Outputs of the network for a sample."""
    preprocessing: str
    """Version of the preprocessing; part of the key of cached samples."""
    published: tuple[PublishedFile, ...] = ()
    dataset: DataFolder | None = IMAGENET
    label_offset: int
    """Added to the index of the largest output: -1 where output 0 is the background."""
    square: Callable[[Image.Image], Pixels]
    """Scales an RGB image and cuts out the pixels the network sees."""
    answer_bytes = 4
    unit = "images"
    items = "images"
    origin: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:  # type: ignore[override]
        """The one network."""
        pixels = Field(PIXELS, "|u1", self.sample.shape)
        return (Part(NETWORK, (pixels,), (Field(LOGITS, "<f4", (self.classes,)),)),)

    def fitting(self, weights: Path) -> Classifier:
        """There is one variant, unless a network says otherwise."""
        return self

    @abstractmethod
    def network(self) -> torch.nn.Module:
        """Return the untrained fp32 network, in evaluation mode.

        Its input is float32 [n, 3, height, width], normalised; its output float32 [n, classes].
        """

    def load_weights(self, path: Path) -> torch.nn.Module:
        """Return the network with the weights of a file, as fp32. Raises WeightsError."""
        from models.weights.load import load_into

        return load_into(self.network(), path, self.sample)

    def preprocess(self, path: Path) -> Pixels:
        """Return the sample uint8 [*sample.shape] of an image file. Raises InputError."""
        return self.sample.bordered(self.square(decode(path)))

    def answers(self, logits: Array) -> npt.NDArray[np.int32]:
        """Return the class int32 [n] of logits float32 [n, classes]."""
        classes: npt.NDArray[np.int32] = np.argmax(logits, axis=1).astype(np.int32)
        return classes + np.int32(self.label_offset)

    def data(self, sources: Sources) -> Pictures:
        """The images of a folder, with the option `labels`, or synthetic ones."""
        return self._pictures(self._images(sources), sources)

    def calibration(self, sources: Sources) -> Pictures:
        """The images that int8 ranges are taken from.

        Those that the user gave (all of a list), else with real weights the served ones, else
        synthetic ones.
        """
        if sources.calibration is not None and sources.calibration.is_file():
            if sources.data is None:
                raise InputError(f"{sources.calibration}: a list names images of a folder")
            images = listed_images(sources.data, sources.calibration)
        elif sources.calibration is not None:
            images = image_folder(sources.calibration).spread(CALIBRATION_SAMPLES)
        elif sources.weights is not None:
            images = self._images(sources).spread(CALIBRATION_SAMPLES)
        else:
            from models.synthetic import build

            images = build(self, _cache(sources)).calibration.spread(SYNTHETIC_CALIBRATION)
        # Ranges are taken of what they show: their labels do not shape them.
        return self._pictures(replace(images, labels=None), sources)

    def weights(self, sources: Sources) -> Path:
        """The user's, or those that are fitted to the synthetic images."""
        if sources.weights is not None:
            return sources.weights
        from models.synthetic import build

        return build(self, _cache(sources)).weights

    def embed(self, sources: Sources, progress: Callable[[int, int], None]) -> None:
        """Draw the synthetic images and fit weights to them."""
        if sources.data is None or sources.weights is None:
            from models.synthetic import build

            build(self, _cache(sources), progress)

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The network over samples of the arena."""
        from models.pixels import OverPixels

        if weights is None:
            raise InputError(f"{self.name}: its network needs weights")
        return OverPixels(self.load_weights(weights), self.sample)

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> torch.nn.Module:
        """The network over samples of the arena, untrained."""
        from models.pixels import OverPixels

        return OverPixels(self.network(), self.sample)

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Array:
        """The class of each sample, int32."""
        return self.answers(run[NETWORK](pixels=batch.views(PIXELS))[LOGITS])

    def score(self, answers: Mapping[int, bytes], data: TaskData) -> Score:
        """Top-1 accuracy, in percent."""
        labels = data.images.labels if isinstance(data, Pictures) else None
        if labels is None:
            raise InputError(f"{data.name}: accuracy needs labels (--labels val_map.txt)")
        strangers = [index for index in answers if not 0 <= index < len(labels)]
        if strangers:
            raise InputError(
                f"sample {strangers[0]} has no label ({len(labels)} labels); the log and the label "
                "file do not belong together"
            )
        classes = {index: as_class(index, answer) for index, answer in answers.items()}
        found: Accuracy = accuracy_of(classes, labels)
        why = tuple(doubts(classes, labels))
        return Score(100 * found.value, str(found), found.total, found.good, why)

    def _images(self, sources: Sources) -> DataSet:
        if sources.data is not None:
            labels = (sources.options or {}).get(LABELS)
            return image_folder(sources.data, Path(labels) if labels else None)
        from models.synthetic import build

        return build(self, _cache(sources)).dataset

    def _pictures(self, images: DataSet, sources: Sources) -> Pictures:
        return pictures(self, images, _cache(sources), sources.reading)


def _cache(sources: Sources) -> Path:
    assert sources.cache is not None
    return sources.cache


def as_class(index: int, answer: bytes) -> int:
    """The class that an answer holds as int32. Raises InputError for what is none."""
    if len(answer) != Classifier.answer_bytes:
        raise InputError(
            f"the answer to sample {index} has {len(answer)} bytes, which is not int32"
        )
    return int.from_bytes(answer, "little", signed=True)


def classifier(name: str) -> Classifier:
    """The classifier of this name or alias; raises InputError for a task that is none."""
    task = models.get(name)
    if not isinstance(task, Classifier):
        raise InputError(f"{task.name}: no classifier of images")
    return task


def classifiers() -> list[str]:
    """The names of all classifiers."""
    return [name for name in models.names() if isinstance(models.get(name), Classifier)]
