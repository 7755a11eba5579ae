"""The images of a data set, as a classifier takes them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from base.unchanged import file_digest
from models.imagenet.content import Content, content_of, forget
from models.imagenet.dataset import DataSet
from models.sample import Pixels, SampleFormat
from models.samples import Itemised
from models.task import Array, Field
from models.workers import Progress, silent

PIXELS = "pixels"
"""The one field of a sample."""


class Preprocessing(Protocol):
    """What a classifier makes of image files."""

    @property
    def sample(self) -> SampleFormat:
        """What comes of it."""

    @property
    def preprocessing(self) -> str:
        """Its name, with a version."""

    def preprocess(self, path: Path) -> Pixels:
        """Return the sample of an image file. Raises InputError."""


@dataclass(frozen=True)
class Pictures(Itemised):
    """The data set (`models.task.DataSet`) of a classifier: an image file is a sample."""

    model: Preprocessing
    images: DataSet
    content: Content
    """Of the files."""
    cache: Path
    """Where checksums are kept."""
    items = "images"

    @property
    def name(self) -> str:
        """The folder's."""
        return self.images.name

    @property
    def synthetic(self) -> bool:
        """Whether they were drawn."""
        return self.images.synthetic

    @functools.cached_property
    def sha256(self) -> str:
        """Of images and labels."""
        return self.content.with_labels(self.images.labels)

    @property
    def fields(self) -> tuple[Field, ...]:
        """Pixels, as the model takes them."""
        return (Field(PIXELS, "|u1", self.model.sample.shape),)

    @property
    def preparation(self) -> str:
        """The model's, with a version."""
        return self.model.preprocessing

    @property
    def notes(self) -> Sequence[str]:
        """Files that are not served."""
        return self.images.notes

    @property
    def truth(self) -> str:
        """Where the labels come from."""
        return self.images.labels_from

    @property
    def scored(self) -> bool:
        """Whether there are labels."""
        return self.images.labels is not None

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Mapping[str, Array]:
        """Preprocess an image; raises InputError that names it."""
        return {PIXELS: self.model.preprocess(self.images.files[index])}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """All are the same work."""
        return 1.0

    @property
    def digests(self) -> Sequence[bytes]:
        """The SHA-256 of each file."""
        return self.content.digests

    @property
    def place(self) -> str:
        """The list of files."""
        return "\0".join(map(str, [self.images.root.resolve(), *self.images.files]))

    def item(self, index: int) -> str:
        """The file."""
        return str(self.images.files[index])

    def unchanged(self, index: int) -> bool:
        """Whether a file still has the bytes that it had."""
        try:
            return file_digest(self.images.files[index]) == self.content.digests[index]
        except OSError:
            return False

    def forget(self) -> None:
        """Have all files read anew the next time."""
        forget(self.images, self.cache)


def pictures(
    model: Preprocessing, images: DataSet, cache: Path, reading: Progress = silent
) -> Pictures:
    """Return the images for a model; `reading` counts those that are read for their checksums."""
    return Pictures(model, images, content_of(images, cache, reading), cache)
