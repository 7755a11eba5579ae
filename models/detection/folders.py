"""Where the detectors' data sets are kept, and how they get there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from base.errors import InputError
from models.published import DataFolder, PublishedFile

IMAGES = "https://open-images-dataset.s3.amazonaws.com/validation/"
ANNOTATIONS = "openimages-mlperf_annotations_2.1.json"


def _named(folder: Path) -> Sequence[PublishedFile]:
    """The images that MLPerf's annotations name. Raises InputError."""
    path = folder / "annotations" / ANNOTATIONS
    try:
        names = [image["file_name"] for image in json.loads(path.read_bytes())["images"]]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: no annotations in COCO's form") from None
    return [
        PublishedFile(f"validation/data/{Path(name).name}", IMAGES + Path(name).name, "an image")
        for name in names
    ]


OPENIMAGES = DataFolder(
    "openimages",
    "OpenImages, MLPerf's 24,781 validation images",
    {"images": "validation/data", "annotations": f"annotations/{ANNOTATIONS}"},
    (
        PublishedFile(
            f"{ANNOTATIONS}.zip",
            f"https://github.com/mlcommons/inference/releases/download/v2.1/{ANNOTATIONS}.zip",
            "their annotations",
            # As CM's script get-dataset-openimages-annotations has it.
            "md5:817fd8da3aeeb0575f1e2d2926b15e68",
            unpacks_to="annotations",
        ),
    ),
    _named,
)
"""The images themselves come without checksums."""
COCO = DataFolder(
    "coco",
    "COCO val2017",
    {"images": "val2017", "annotations": "annotations/instances_val2017.json"},
    (
        PublishedFile(
            "val2017.zip",
            "http://images.cocodataset.org/zips/val2017.zip",
            "5,000 images",
            "md5:442b8da7639aecaf257c1dceb8ba8c80",
            unpacks_to="",
        ),
        PublishedFile(
            "annotations_trainval2017.zip",
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
            "annotations",
            "md5:f4bbac642086de4f52a3fdda2de5fa2c",
            unpacks_to="",
        ),
    ),
)
