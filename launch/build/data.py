"""The data of a model: the served samples, and those that int8 ranges are taken from.

The one module of this room that knows images and labels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import models
from launch.build.assets import DataFacts, SampleFacts
from models.imagenet.dataset import DataSet, image_folder, listed_images
from models.imagenet.samples import PreparedSamples, prepare_samples
from models.model import Model
from models.synthetic import SyntheticAssets
from models.synthetic import build as build_synthetic
from models.task import Sources
from models.workers import Progress

CALIBRATION_IMAGES = 200
"""Images at most that int8 ranges are taken from, spread evenly over the calibration set."""
SYNTHETIC_CALIBRATION_IMAGES = 32
"""The same of the synthetic images, which are more alike."""

SYNTHETIC = "synthetic model and images"
READING = "reading images"
PREPARING, PREPARING_CALIBRATION = "preprocessing images", "preprocessing calibration images"

Stage = Callable[[str], Progress]
"""The progress of a stage, by its name."""
Notice = Callable[[str], None]
"""Told what the user should know."""


class Data:
    """Weights and images of `sources`, with the `embedded` ones in place of those not given."""

    def __init__(self, sources: Sources, embedded: SyntheticAssets | None) -> None:
        self._sources = sources
        self._embedded = embedded

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self._sources.weights or self._default.weights

    @functools.cached_property
    def served(self) -> DataSet:
        """The images that are served. Raises InputError."""
        if self._sources.data is None:
            return self._default.dataset
        labels = (self._sources.options or {}).get("labels")
        return image_folder(self._sources.data, Path(labels) if labels else None)

    @functools.cached_property
    def calibration(self) -> DataSet:
        """The images that int8 ranges are taken from. Raises InputError.

        Those that the user gave (all of a list), else with real weights the served ones, else
        synthetic ones.
        """
        if self._sources.calibration is not None:
            return given_calibration(self._sources.data, self._sources.calibration)
        if self._sources.weights is not None:
            return self.served.spread(CALIBRATION_IMAGES)
        return self._default.calibration.spread(SYNTHETIC_CALIBRATION_IMAGES)

    @property
    def _default(self) -> SyntheticAssets:
        assert self._embedded is not None
        return self._embedded


def variant(name: str, weights: Path | None, notice: Notice) -> Model:
    """The model as the given weights want it; `notice` gets a line where it is another."""
    model = models.get(name)
    if weights is None:
        return model
    fitting = models.for_weights(model, weights)
    if fitting.name != model.name:
        notice(
            f"the weights are TensorFlow's ({fitting.classes} outputs): images are preprocessed for"
            f" them as {fitting.preprocessing}"
        )
    return fitting


def open_data(model: Model, sources: Sources, embedded: bool, cache: Path, stage: Stage) -> Data:
    """The data of `sources`; `embedded`: synthetic data come first, unless the cache holds them."""
    return Data(sources, build_synthetic(model, cache, stage(SYNTHETIC)) if embedded else None)


def announce_served(dataset: DataSet, notice: Notice) -> None:
    """Say where the labels of the user's images come from, and which images are not served."""
    if not dataset.synthetic:
        notice(f"{'no ' if dataset.labels is None else ''}labels: {dataset.labels_from}")
        for note in dataset.notes:
            notice(note)


def announce_calibration(dataset: DataSet, notice: Notice) -> None:
    """Say which of the user's calibration images are left out."""
    for note in dataset.notes:
        notice(f"calibration: {note}")


def prepare(
    model: Model, dataset: DataSet, cache: Path, name: str, stage: Stage
) -> tuple[PreparedSamples, int]:
    """The images' samples, and how many of them were prepared now; `name` is that of the stage."""
    new = 0
    progress = stage(name)

    def count(done: int, total: int) -> None:
        nonlocal new
        # The first call says how many there were already.
        new = new or total - done
        progress(done, total)

    return prepare_samples(model, dataset, cache, count, stage(READING)), new


def served_facts(samples: PreparedSamples, new: int) -> SampleFacts:
    """The record of the served samples: the checksum covers the labels, too."""
    facts = DataFacts(samples.name, samples.sha256, samples.synthetic)
    return SampleFacts(str(samples.path), samples.count, new, facts)


def calibration_facts(samples: PreparedSamples, new: int) -> SampleFacts:
    """The same of calibration samples, whose labels do not count."""
    facts = DataFacts(samples.name, samples.images_sha256, samples.synthetic)
    return SampleFacts(str(samples.path), samples.count, new, facts)


def given_calibration(images: Path | None, calibration: Path) -> DataSet:
    """The calibration images that the user gave: all of a list, or some of a folder."""
    if calibration.is_file():
        assert images is not None
        return listed_images(images, calibration)
    return image_folder(calibration).spread(CALIBRATION_IMAGES)
