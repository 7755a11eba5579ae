"""Annotations in COCO's JSON format: which images, in LoadGen's order, with which objects."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import InputError, quoted
from models.detection.labels import Labels

OUTSIDE = 1.0
"""Pixels that a box may reach outside its image before that is worth a word: coordinates are
rounded."""


@dataclass(frozen=True)
class Image:
    """An image as annotations name it."""

    id: int
    file: str
    height: float
    width: float


@dataclass(frozen=True)
class Annotations:
    """What a file says, checked."""

    path: Path
    images: tuple[Image, ...]
    categories: tuple[int, ...]
    """Ids of the categories that are scored."""
    notes: tuple[str, ...]
    """What of the file is left out, or looks wrong."""
    sha256: str
    """Of the file."""

    def annotations_of(self, indices: Sequence[int]) -> dict[str, Any]:
        """The objects in the images of these indices, as COCO's tools take them."""
        wanted = {self.images[index].id for index in indices}
        known = set(self.categories)
        content = _parse(self.path)
        return {
            "images": [image for image in content["images"] if image["id"] in wanted],
            "categories": [c for c in content["categories"] if c["id"] in known],
            "annotations": [
                {**each, "iscrowd": _crowd(each), "area": _area(each)}
                for each in content["annotations"]
                if each["image_id"] in wanted and each["category_id"] in known
            ],
        }


def read_annotations(path: Path, labels: Labels) -> Annotations:
    """Read and check a file. Raises InputError that names it and what is wrong in it."""
    content = _parse(path)
    images = tuple(_image(path, each) for each in content["images"])
    by_id = {image.id: image for image in images}
    if not images:
        raise InputError(f"{path}: names no images")
    if len(by_id) != len(images):
        raise InputError(f"{path}: names two images of the same id")
    given = [_number(path, each, "id", "a category") for each in content["categories"]]
    categories = labels.categories([int(each) for each in given], path)
    outside = unknown = 0
    for each in content["annotations"]:
        outside += _reaches_outside(path, each, by_id)
        unknown += each["category_id"] not in categories
    notes = []
    if outside:
        notes.append(f"{path}: {outside} boxes reach outside their images")
    if unknown:
        notes.append(
            f"{path}: {unknown} objects of categories that the network does not know are not "
            f"scored; {len(categories)} of {len(given)} categories are"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Annotations(path, images, tuple(sorted(categories)), tuple(notes), digest)


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not annotations in COCO's JSON ({quoted(str(error))})") from None
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise InputError(f"{path}: not annotations in COCO's JSON: no list '{key}'")
    return dict(content)


def _image(path: Path, entry: Mapping[str, Any]) -> Image:
    file = entry.get("file_name")
    if not isinstance(file, str) or not file or file.startswith("/") or ".." in file.split("/"):
        raise InputError(f"{path}: an image has the file name {quoted(file)}")
    number = _number(path, entry, "id", f"image {quoted(file)}")
    height, width = (_number(path, entry, k, f"image {quoted(file)}") for k in ("height", "width"))
    if height <= 0 or width <= 0:
        raise InputError(f"{path}: image {quoted(file)} is {width:g} x {height:g} pixels large")
    return Image(int(number), file, height, width)


def _reaches_outside(path: Path, entry: Mapping[str, Any], images: Mapping[int, Image]) -> bool:
    """Whether an object's box reaches outside its image. Raises InputError for a bad object."""
    name = f"object {quoted(entry.get('id'))}"
    image = images.get(int(_number(path, entry, "image_id", name)))
    if image is None:
        raise InputError(
            f"{path}: {name} is in image {quoted(entry['image_id'])}, which is not among its images"
        )
    _number(path, entry, "category_id", name)
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_finite, box)):
        raise InputError(f"{path}: {name} has the box {quoted(box)}, expected four numbers")
    left, top, width, height = box
    if width < 0 or height < 0:
        raise InputError(f"{path}: {name} has a box of {width:g} x {height:g} pixels")
    return bool(
        left < -OUTSIDE
        or top < -OUTSIDE
        or left + width > image.width + OUTSIDE
        or top + height > image.height + OUTSIDE
    )


def _number(path: Path, entry: Mapping[str, Any], key: str, what: str) -> float:
    value = entry.get(key)
    if not _finite(value):
        raise InputError(f"{path}: {what} has the {key} {quoted(value)}, expected a number")
    return value  # type: ignore[return-value]


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _crowd(entry: Mapping[str, Any]) -> int:
    """Some versions of OpenImages' file have NaN where it is unknown, which ends COCO's tools."""
    return int(entry["iscrowd"]) if _finite(entry.get("iscrowd")) else 0


def _area(entry: Mapping[str, Any]) -> float:
    area = entry.get("area")
    return float(area) if _finite(area) else float(entry["bbox"][2] * entry["bbox"][3])  # type: ignore[arg-type]
