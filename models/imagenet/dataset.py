"""Data sets: which images, with which labels, in which order."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import InputError
from models.imagenet.labels import read_labels

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
LABEL_FILES = ("val_map.txt", "labels.txt")


@dataclass(frozen=True)
class DataSet:
    """Image files in the order of LoadGen's sample indices."""

    name: str
    synthetic: bool
    files: list[Path]
    labels: list[int] | None
    """Class 0..999 of each file; None where the images come without labels."""
    sha256: str
    """Of names, labels and file sizes: tells data sets apart without reading the images."""

    def __len__(self) -> int:
        return len(self.files)

    def spread(self, most: int) -> DataSet:
        """Return at most `most` of the images, evenly spread over all, as a data set of its own."""
        count = len(self)
        if count <= most:
            return self
        chosen = [i * count // most for i in range(most)]
        labels = None if self.labels is None else [self.labels[i] for i in chosen]
        return _data_set(self.name, self.synthetic, [self.files[i] for i in chosen], labels)

    def by_content(self) -> DataSet:
        """Return the same data set with a checksum of the images' bytes, in their order.

        It tells images apart whose names and sizes are equal, and costs reading them all. Raises
        InputError.
        """
        digest = hashlib.sha256()
        for file in self.files:
            try:
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror})") from None
        return replace(self, sha256=digest.hexdigest())


def image_folder(images: Path, label_file: Path | None = None, synthetic: bool = False) -> DataSet:
    """Return the data set of a folder of images, in the order of its label file.

    Without label_file, a val_map.txt or labels.txt in the folder serves; where there is none,
    the images are taken by name and have no labels. Raises InputError.
    """
    try:
        with os.scandir(images) as entries:
            present = sorted(e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES))
    except FileNotFoundError:
        raise InputError(f"{images}: no such folder of images") from None
    except OSError as error:
        raise InputError(f"{images}: not a folder of images ({error.strerror})") from None
    if not present:
        raise InputError(f"{images}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    if label_file is None:
        label_file = next((images / n for n in LABEL_FILES if (images / n).is_file()), None)
    name = images.resolve().name
    if label_file is None:
        return _data_set(name, synthetic, [images / file for file in present], None)
    labelled = read_labels(label_file)
    missing = sorted({file for file, _ in labelled} - set(present))
    if missing:
        raise InputError(
            f"{label_file}: {len(missing)} of {len(labelled)} images are not in {images} "
            f"(first: {missing[0]})"
        )
    files = [images / file for file, _ in labelled]
    return _data_set(name, synthetic, files, [label for _, label in labelled])


def _data_set(name: str, synthetic: bool, files: list[Path], labels: list[int] | None) -> DataSet:
    digest = hashlib.sha256()
    for i, file in enumerate(files):
        label = -1 if labels is None else labels[i]
        digest.update(f"{file.name} {label} {file.stat().st_size}\n".encode())
    return DataSet(name, synthetic, files, labels, digest.hexdigest())
