"""Data sets: which images, with which labels, in which order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import InputError, quoted
from base.text import read_given
from models.imagenet.classes import CURE, classes_of, is_class, is_number
from models.imagenet.labels import read_labels
from models.imagenet.listing import Listing

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
VALIDATION_IMAGES = 50_000
"""Images of ImageNet's validation set, over which MLPerf asks for accuracy."""
LABEL_FILES = ("val_map.txt", "val.txt", "labels.txt")
ARCHIVE_FOLDERS = ("__MACOSX",)
"""What archives bring along beside what is wanted."""
DEEPEST = 4
"""Folders with nothing but the next one in them that are looked through."""


@dataclass(frozen=True)
class DataSet:
    """Image files in the order of LoadGen's sample indices."""

    name: str
    synthetic: bool
    root: Path
    """The folder that holds the files, itself or somewhere below."""
    files: list[Path]
    labels: list[int] | None
    """Class 0..999 of each file; None where the images come without labels."""
    labels_from: str
    """Where the labels come from; where there are none, why, with the cure."""
    notes: tuple[str, ...] = ()
    """What of the folder is not served."""

    def __len__(self) -> int:
        return len(self.files)

    def spread(self, most: int) -> DataSet:
        """Return at most `most` of the images, evenly spread over all, as a data set of its own."""
        count = len(self)
        if count <= most:
            return self
        chosen = [i * count // most for i in range(most)]
        labels = None if self.labels is None else [self.labels[i] for i in chosen]
        return replace(self, files=[self.files[i] for i in chosen], labels=labels)


def image_folder(images: Path, label_file: Path | None = None, synthetic: bool = False) -> DataSet:
    """Return the data set of a folder of images, in the order of its label file.

    The images lie in the folder itself or, as in ImageNet's other layout, in a sub-folder for each
    class; a label file names them with or without it. An archive's extra folder around them is
    looked through. Without label_file, a val_map.txt, val.txt or labels.txt in the folder serves.
    Where there is none, the images are taken by name, and their sub-folders are the labels where
    models.imagenet.classes says so. Raises InputError.
    """
    found = _find(images)
    name = images.resolve().name
    if label_file is None:
        places = [folder / file for folder in found.folders for file in LABEL_FILES]
        label_file = next((place for place in places if place.is_file()), None)
    if label_file is not None:
        labelled = read_labels(label_file)
        files = _named(found, [file for file, _ in labelled], label_file)
        labels = [label for _, label in labelled]
        return DataSet(name, synthetic, images, files, labels, str(label_file))
    if found.in_folders:
        return _of_folders(found, name, synthetic)
    files = [found.inner / file for file in found.beside]
    why = f"no {', '.join(LABEL_FILES[:-1])} or {LABEL_FILES[-1]} in {found.inner}: {CURE}"
    notes = _not_served(found.strays) + _not_served(found.in_sub_folders)
    return DataSet(name, synthetic, images, files, None, why, notes)


def listed_images(images: Path, names: Path) -> DataSet:
    """Return the images of a folder that a file names, one a line, without labels.

    What follows a name in its line does not count: of MLPerf's two lists of calibration images,
    one has a number there. The folder may have either layout. Raises InputError.
    """
    try:
        lines = read_given(names).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{names}: cannot be read as a list of images ({error})") from None
    wanted = [line for line in lines if line.strip()]
    if not wanted:
        raise InputError(f"{names}: names no images")
    found = _find(images)
    listing = Listing(images, found.inner, found.every(), names)
    pairs = [listing.find_in_line(line) for line in wanted]
    files = [images / file for file in dict.fromkeys(_all_there(pairs, images, names))]
    return DataSet(names.stem, False, images, files, None, "a list has none")


@dataclass(frozen=True)
class _Found:
    """The images below a folder, as paths below it.

    They lie in `inner`, the folder itself or one in it that holds the data set; all `folders` on
    the way there may hold label files, and a few stray images.
    """

    images: Path
    folders: list[Path]
    strays: list[str]
    beside: list[str]
    """Names of the images in the inner folder itself."""
    below: dict[str, list[str]]
    """The same of each of its sub-folders that holds any."""

    @property
    def inner(self) -> Path:
        """The folder that holds the images, itself or in sub-folders."""
        return self.folders[-1]

    @property
    def in_folders(self) -> bool:
        """Whether the data set is in the sub-folders: a few stray images hide nothing."""
        return sum(map(len, self.below.values())) > len(self.beside)

    @property
    def in_sub_folders(self) -> list[str]:
        """The images in the inner folder's sub-folders."""
        return self._paths(
            f"{folder}/{file}" for folder in self.below for file in self.below[folder]
        )

    def every(self) -> list[str]:
        """Return all images."""
        return [*self.strays, *self._paths(self.beside), *self.in_sub_folders]

    def _paths(self, files: Iterable[str]) -> list[str]:
        inner = self.inner.relative_to(self.images).as_posix()
        return [file if inner == "." else f"{inner}/{file}" for file in files]


def _of_folders(found: _Found, name: str, synthetic: bool) -> DataSet:
    """Return the images of all sub-folders, by label where those are the labels."""
    classes = classes_of(list(found.below))
    labels = classes.labels
    served = [folder for folder in found.below if folder not in classes.left_out]
    if labels is not None:
        served.sort(key=labels.__getitem__)
    notes = _not_served([*found.strays, *found.beside])
    if classes.left_out:
        others = [f"{folder}/{n}" for folder in classes.left_out for n in found.below[folder]]
        notes += _not_served(others, "in sub-folders that are no classes like the others, ")
    return DataSet(
        name,
        synthetic,
        found.images,
        [found.inner / folder / file for folder in served for file in found.below[folder]],
        None if labels is None else [labels[f] for f in served for _ in found.below[f]],
        classes.source,
        notes,
    )


def _not_served(files: list[str], where: str = "") -> tuple[str, ...]:
    if not files:
        return ()
    which = f"1 image is not served, {where}" if len(files) == 1 else ""
    which = which or f"{len(files)} images are not served, {where}the first of them "
    return (f"{which}{quoted(files[0])}",)


def _named(found: _Found, wanted: list[str], source: Path) -> list[Path]:
    """Return the files that the label file `source` names. Raises InputError."""
    listing = Listing(found.images, found.inner, found.every(), source)
    pairs = [(name, listing.find(name)) for name in wanted]
    files = _all_there(pairs, found.images, source)
    names: dict[str, str] = {}
    for name, file in zip(wanted, files, strict=True):
        if file in names:
            raise InputError(
                f"{source}: {quoted(names[file])} and {quoted(name)} are the same image"
            )
        names[file] = name
    return [found.images / file for file in files]


def _all_there(pairs: Sequence[tuple[str, str | None]], images: Path, source: Path) -> list[str]:
    """Return the files of (name, file). Raises InputError where one is None."""
    missing = sorted({name for name, file in pairs if file is None})
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of {len(pairs)} images are not in {images} "
            f"(first: {quoted(missing[0])})"
        )
    return [file for _, file in pairs if file is not None]


def _find(images: Path) -> _Found:
    """Return the images of a folder. Raises InputError where it has none, or hides which."""
    try:
        return _look_through(images)
    except FileNotFoundError:
        raise InputError(f"{images}: no such folder of images") from None
    except OSError as error:
        at = error.filename or images
        raise InputError(f"{at}: not a folder of images ({error.strerror})") from None


def _look_through(images: Path) -> _Found:
    folders, strays = [images], list[str]()
    while True:
        inner = folders[-1]
        names: list[str] = []
        beside = _images_in(inner, names)
        within = {name: _images_below(inner / name) for name in sorted(names)}
        below = {name: files for name, files in within.items() if files}
        found = _Found(images, folders, strays, beside, below)
        if len(below) > 1 or any(map(is_number, below)):
            return found
        held = {n: len(f) for n, f in below.items()} or {n: _held(inner / n) for n in within}
        held = {name: count for name, count in held.items() if count}
        if sum(held.values()) <= len(beside) or (beside and len(held) > 1):
            if not beside:
                raise InputError(f"{images}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
            return found
        if len(held) > 1 or len(folders) > DEEPEST:
            raise InputError(
                f"{images}: holds no images itself, but folders that do: give the one that is"
                f" meant, such as {inner / next(iter(held))}"
            )
        strays += found.every()[len(strays) :][: len(beside)]
        folders = [*folders, inner / next(iter(held))]


def _held(folder: Path, depth: int = 2) -> int:
    """Return how many images the sub-folders of a folder hold, some folders deep."""
    names: list[str] = []
    _images_below(folder, names)
    return sum(
        len(_images_below(folder / name)) + (_held(folder / name, depth - 1) if depth else 0)
        for name in names
    )


def _images_below(folder: Path, folders: list[str] | None = None) -> list[str]:
    """As _images_in; a folder that may not be read has none, unless it is one of a class."""
    try:
        return _images_in(folder, folders)
    except PermissionError:
        if is_class(folder.name):
            raise
        return []  # a mount's lost+found


def _images_in(folder: Path, folders: list[str] | None = None) -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # Hidden ones are nobody's images: macOS keeps attributes of x.JPEG in ._x.JPEG.
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if folders is not None and entry.name not in ARCHIVE_FOLDERS:
                    folders.append(entry.name)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                found.append(entry.name)
    return sorted(found)
