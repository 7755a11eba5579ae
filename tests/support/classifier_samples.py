"""Preprocessed images, kept in a folder that processes map instead of decoding them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.imagenet.classifier import Classifier
from models.imagenet.dataset import DataSet
from models.imagenet.pictures import PIXELS, pictures
from models.sample import Pixels
from models.samples import Prepared, prepare
from models.workers import Progress, silent


@dataclass(frozen=True)
class PreparedSamples:
    """A data set after preprocessing."""

    path: Path
    """A folder of prepared samples (`models.samples`), in the data set's order."""
    count: int
    labels: list[int] | None
    name: str
    synthetic: bool
    sha256: str
    """Of the images' bytes and their labels."""
    images_sha256: str
    """Of the images' bytes alone."""

    def open(self) -> Pixels:
        """Return the samples uint8 [count, *shape], mapped read-only."""
        samples: Pixels = Prepared.open(self.path).column(PIXELS)
        return samples


def prepare_samples(
    model: Classifier,
    dataset: DataSet,
    cache_dir: Path,
    progress: Progress = silent,
    reading: Progress = silent,
) -> PreparedSamples:
    """Return the data set's samples for the model, preprocessed unless the cache holds them.

    As `models.samples.prepare`; `reading` is called while images are read that were not known.
    Raises InputError.
    """
    data = pictures(model, dataset, cache_dir, reading)
    prepared = prepare(data, cache_dir, progress)
    return PreparedSamples(
        prepared.path,
        len(dataset),
        dataset.labels,
        dataset.name,
        dataset.synthetic,
        data.sha256,
        data.content.sha256,
    )
