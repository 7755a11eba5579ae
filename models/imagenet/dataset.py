"""Data sets: which images, with which labels, in which order."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import InputError, quoted
from base.files import why_not_regular
from base.text import FOREIGN, read_given
from models.imagenet.labels import CLASSES, read_labels

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
VALIDATION_IMAGES = 50_000
"""Images of ImageNet's validation set, over which MLPerf asks for accuracy."""
LABEL_FILES = ("val_map.txt", "val.txt", "labels.txt")


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
            if trouble := why_not_regular(file):
                raise InputError(f"{file}: not an image: {trouble}")
            try:
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror})") from None
        return replace(self, sha256=digest.hexdigest())


def image_folder(images: Path, label_file: Path | None = None, synthetic: bool = False) -> DataSet:
    """Return the data set of a folder of images, in the order of its label file.

    The images lie in the folder itself or, as in ImageNet's other layout, in a sub-folder for each
    class; a label file names them with or without it. Without label_file, a val_map.txt, val.txt or
    labels.txt in the folder serves. Where there is none, the images are taken by name: those of
    1000 sub-folders have the number of theirs as label, the folders in alphabetical order (that of
    ImageNet's synsets); others have none. Raises InputError.
    """
    present = _present(images)
    if not present:
        raise InputError(f"{images}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    if label_file is None:
        label_file = next((images / n for n in LABEL_FILES if (images / n).is_file()), None)
    name = images.resolve().name
    if label_file is None:
        labels = _labels_by_folder(present)
        return _data_set(name, synthetic, [images / file for file in present], labels)
    labelled = read_labels(label_file)
    files = _named(images, present, [file for file, _ in labelled], label_file)
    return _data_set(name, synthetic, files, [label for _, label in labelled])


def listed_images(images: Path, names: Path) -> DataSet:
    """Return the images of a folder that a file names, one a line, without labels.

    What follows a name in its line does not count: of MLPerf's two lists of calibration images,
    one has a number there. The folder may have either layout. Raises InputError.
    """
    try:
        lines = read_given(names).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{names}: cannot be read as a list of images ({error})") from None
    wanted = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    if not wanted:
        raise InputError(f"{names}: names no images")
    files = _named(images, _present(images), wanted, names)
    return _data_set(names.stem, False, files, None)


def _named(images: Path, present: list[str], wanted: list[str], source: Path) -> list[Path]:
    """Return the files that `source` names, with or without their sub-folder. Raises InputError."""
    known = {Path(file).name: file for file in present} | {file: file for file in present}
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of {len(wanted)} images are not in {images} "
            f"(first: {quoted(missing[0])})"
        )
    return [images / known[name] for name in wanted]


def _present(images: Path) -> list[str]:
    """Return the images in the folder, else in its sub-folders: paths below it, sorted."""
    folders: list[str] = []
    try:
        found = _images_in(images, folders)
        if not found:
            for folder in sorted(folders):
                found += [f"{folder}/{name}" for name in _images_in(images / folder)]
    except FileNotFoundError:
        raise InputError(f"{images}: no such folder of images") from None
    except OSError as error:
        at = error.filename or images
        raise InputError(f"{at}: not a folder of images ({error.strerror})") from None
    return found


def _images_in(folder: Path, folders: list[str] | None = None) -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # Hidden ones are nobody's images: macOS keeps attributes of x.JPEG in ._x.JPEG.
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if folders is not None:
                    folders.append(entry.name)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                found.append(entry.name)
    return sorted(found)


def _labels_by_folder(present: list[str]) -> list[int] | None:
    folders = sorted({file.rpartition("/")[0] for file in present})
    if len(folders) != CLASSES:
        return None
    number = {folder: label for label, folder in enumerate(folders)}
    return [number[file.rpartition("/")[0]] for file in present]


def _size(file: Path) -> int:
    """Return its size; -1 of what is no file, which is refused where it is to be read."""
    return -1 if why_not_regular(file) else file.stat().st_size


def _data_set(name: str, synthetic: bool, files: list[Path], labels: list[int] | None) -> DataSet:
    digest = hashlib.sha256()
    for i, file in enumerate(files):
        label = -1 if labels is None else labels[i]
        digest.update(f"{file.name} {label} {_size(file)}\n".encode(errors=FOREIGN))
    return DataSet(name, synthetic, files, labels, digest.hexdigest())
