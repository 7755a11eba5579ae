"""Data sets for detection: a folder of images, or of preprocessed ones, with its annotations."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from base.errors import InputError
from base.unchanged import file_digest
from models.detection.annotations import Annotations, read_annotations
from models.detection.preprocess import decode, sample_of, scaled, stored
from models.imagenet.content import Content, content_of, forget
from models.imagenet.dataset import IMAGE_SUFFIXES, DataSet, listed_images
from models.samples import Itemised
from models.task import Array, Field, Sources

if TYPE_CHECKING:
    from models.detection.detector import Detector

DTYPES = {"u8": "|u1", "f32": "<f4"}
"""What samples are kept as, by the option `pixels`."""
STORED = (".npy", ".raw")
"""What names of preprocessed images end in, behind the image's own name or instead of its end."""
HASHES = Path("hashes-of-detection")
"""Where checksums are kept when no cache is given: nowhere that exists."""


class Truth(Protocol):
    """Where the objects in the images are known from."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def categories(self) -> Sequence[int]:
        """Ids of all categories that are scored, ascending."""
        ...

    @property
    def sha256(self) -> str:
        """Of all that the truth says."""
        ...

    def annotations_of(self, indices: Sequence[int]) -> dict[str, Any]:
        """The objects in the images of these indices, in COCO's format."""
        ...


class Judged(ABC):
    """A data set (`models.task.DataSet`) whose images have ids, and objects in them."""

    @property
    @abstractmethod
    def image_ids(self) -> Sequence[int]:
        """Ids by sample index."""

    @property
    @abstractmethod
    def categories(self) -> Sequence[int]:
        """Ids of all categories that are scored, ascending."""

    @abstractmethod
    def annotations_of(self, indices: Sequence[int]) -> dict[str, Any]:
        """The objects in the images of these indices. Raises InputError where nobody knows."""


@dataclass(frozen=True)
class DetectionData(Judged, Itemised):
    """Images in LoadGen's order, which is that of the annotations' list of images."""

    task: Detector
    name: str
    root: Path
    files: tuple[Path, ...]
    ids: tuple[int, ...]
    dtype: str
    """Of a sample's pixels: `|u1` or `<f4`."""
    preprocessed: bool
    """Whether the files hold preprocessed images."""
    objects: Truth | None
    """None where images come without annotations."""
    content: Content
    """Of the files."""
    cache: Path | None
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    items = "images"

    @property
    def sha256(self) -> str:
        """Of images and annotations."""
        digest = hashlib.sha256(b"".join(self.content.digests))
        if self.objects is not None:
            digest.update(self.objects.sha256.encode())
        return digest.hexdigest()

    @property
    def fields(self) -> tuple[Field, ...]:
        """Pixels with the network's border around them, 0..255."""
        return (Field("image", self.dtype, self.task.sample.shape),)

    @property
    def preparation(self) -> str:
        """The preprocessing, with its version."""
        kind = "stored-" if self.preprocessed else ""
        return f"{self.task.preprocessing}-{kind}{self.dtype[1:]}"

    @property
    def image_ids(self) -> Sequence[int]:
        """As the annotations have them."""
        return self.ids

    @property
    def categories(self) -> Sequence[int]:
        """Ids of the categories that are scored."""
        return () if self.objects is None else self.objects.categories

    @property
    def truth(self) -> str:
        """The file of annotations, or what to do about there being none."""
        if self.objects is not None:
            return str(self.objects.path)
        where = " or ".join(self.task.annotation_files)
        return f"give --annotations FILE (COCO's JSON), or put them there as {where}"

    @property
    def scored(self) -> bool:
        """Whether there are annotations."""
        return self.objects is not None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> Mapping[str, Array]:
        """Preprocess one image. Raises InputError that names its file."""
        task, sample, path = self.task, self.task.sample, self.files[index]
        if self.preprocessed:
            pixels = stored(path, sample, task.normalised_files)
        else:
            pixels = scaled(decode(path), sample.height, sample.width)
        return {"image": sample_of(pixels, sample, self.dtype, task.resize)}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """All are the same work."""
        return 1.0

    def annotations_of(self, indices: Sequence[int]) -> dict[str, Any]:
        """What is in the images of these indices. Raises InputError where nobody knows."""
        if self.objects is None:
            raise InputError(f"{self.root}: images without annotations: {self.truth}")
        return self.objects.annotations_of(indices)

    @property
    def digests(self) -> Sequence[bytes]:
        """The SHA-256 of each file."""
        return self.content.digests

    @property
    def place(self) -> str:
        """The list of files."""
        return "\0".join(map(str, [self.root.resolve(), *self.files]))

    def item(self, index: int) -> str:
        """The file of an image."""
        return str(self.files[index])

    def unchanged(self, index: int) -> bool:
        """Whether a file still has the bytes that it had."""
        try:
            return file_digest(self.files[index]) == self.content.digests[index]
        except OSError:
            return False

    def forget(self) -> None:
        """Have all files read anew the next time."""
        if self.cache is not None:
            forget(_listed(self.name, self.root, self.files), self.cache)


def image_data(task: Detector, sources: Sources) -> DetectionData:
    """The images of `sources.data` in the order of their annotations.

    Annotations are those of the option `annotations`, or of where the task's data sets have them.
    Without any, images are taken by name. Files are images, or preprocessed images with the names
    of `STORED`. Raises InputError.
    """
    root = sources.data
    assert root is not None
    found = _Files(root, task.image_folders)
    annotations = _annotations(task, root, (sources.options or {}).get("annotations"))
    if annotations is None:
        return _data(task, sources, root, found.images())
    return _data(task, sources, root, found.named(annotations), annotations)


def unjudged(task: Detector, sources: Sources, root: Path) -> DetectionData:
    """The images of a folder by name, without annotations. Raises InputError."""
    return _data(task, sources, root, _Files(root, task.image_folders).images())


def listed_data(task: Detector, sources: Sources, names: Path) -> DetectionData:
    """The images of `sources.data` that a file names, one a line. Raises InputError."""
    if sources.data is None:
        raise InputError(f"{names}: a list names images of a folder (--images DIR)")
    return _data(task, sources, sources.data, listed_images(sources.data, names).files)


def _data(
    task: Detector,
    sources: Sources,
    root: Path,
    files: Sequence[Path],
    annotations: Annotations | None = None,
) -> DetectionData:
    if not files:
        raise InputError(f"{root}: holds no images")
    pixels = (sources.options or {}).get("pixels") or "u8"
    if pixels not in DTYPES:
        raise InputError(f"pixels '{pixels}': choose one of {', '.join(DTYPES)}")
    kinds = {path.suffix.lower() in STORED for path in files}
    if len(kinds) > 1:
        raise InputError(f"{root}: some images are preprocessed and others are not")
    ids = [image.id for image in annotations.images] if annotations else range(1, len(files) + 1)
    name = root.resolve().name
    listed = _listed(name, root, files)
    return DetectionData(
        task=task,
        name=name,
        root=root,
        files=tuple(files),
        ids=tuple(ids),
        dtype=DTYPES[pixels],
        preprocessed=kinds.pop(),
        objects=annotations,
        content=content_of(listed, sources.cache or HASHES, sources.reading),
        cache=sources.cache,
        notes=() if annotations is None else annotations.notes,
    )


def _listed(name: str, root: Path, files: Sequence[Path]) -> DataSet:
    return DataSet(name, False, root, list(files), None, "")


def _annotations(task: Detector, root: Path, given: str | None) -> Annotations | None:
    if given is not None:
        return read_annotations(Path(given), task.labels)
    for base in (root, root.parent, root.parent.parent):
        for name in task.annotation_files:
            if (base / name).is_file() and (base == root or _belongs(task, root, base)):
                return read_annotations(base / name, task.labels)
    return None


def _belongs(task: Detector, root: Path, base: Path) -> bool:
    """Whether `root` is the folder of images of a data set at `base`."""
    return root.relative_to(base).as_posix() in task.image_folders


class _Files:
    """The files of a folder, and of the sub-folders that images may lie in."""

    def __init__(self, root: Path, folders: Sequence[str]) -> None:
        """List them. Raises InputError where there is no such folder."""
        if not root.is_dir():
            raise InputError(f"{root}: no such folder of images")
        self._root = root
        self._folders = [f for f in (root, *(root / name for name in folders)) if f.is_dir()]
        self._names = {
            folder: {entry.name for entry in folder.iterdir()} for folder in self._folders
        }

    def images(self) -> list[Path]:
        """All images, or preprocessed ones, of the first folder that has any; by name."""
        for folder, names in self._names.items():
            for ends in (IMAGE_SUFFIXES, STORED):
                files = sorted(name for name in names if name.lower().endswith(ends))
                if files:
                    return [folder / name for name in files]
        return []

    def named(self, annotations: Annotations) -> list[Path]:
        """The file of each image of the annotations. Raises InputError for those not there."""
        files = [self._find(image.file) for image in annotations.images]
        absent = [i.file for i, f in zip(annotations.images, files, strict=True) if f is None]
        if absent:
            raise InputError(
                f"{annotations.path}: names {len(absent)} of {len(files)} images that are not in "
                f"{self._root} (first: {absent[0]}): give the annotations of the images that are "
                "there"
            )
        return [file for file in files if file is not None]

    def _find(self, file: str) -> Path | None:
        stem = file.rpartition(".")[0] or file
        wanted = [file, *(f"{name}{end}" for name in (file, stem) for end in STORED)]
        for folder, names in self._names.items():
            for name in wanted:
                # A name may have folders of its own.
                if name in names or ("/" in name and (folder / name).is_file()):
                    return folder / name
        return None
