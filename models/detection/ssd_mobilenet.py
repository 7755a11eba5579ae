"""SSD-MobileNet (300x300): MLPerf's small object detection, and a MobileNetV2 of the same kind.

The first is TensorFlow's ssd_mobilenet_v1_coco of 2018-01-28, with 90 COCO categories; the second
is trained on 23 classes of OpenImages V4. Decoding is that of TensorFlow's graph, which sorts out
scores up to 0.3, suppresses class by class and keeps the best 100 of the image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.detection.anchors import ssd_anchors
from models.detection.answers import ROW_BYTES, Detections
from models.detection.folders import COCO
from models.detection.labels import Labels
from models.detection.nms import kept
from models.detection.task import DetectionTask, Resize
from models.published import PublishedFile
from models.sample import SampleFormat
from models.task import Array, Benchmark, Field, Part

if TYPE_CHECKING:
    import torch

    from models.detection.seeding import Heads

SIZE = 300
GRIDS = (19, 10, 5, 3, 2, 1)
BOXES = (3, 6, 6, 6, 6, 6)
OVERLAP = 0.6
KEPT = 100
PLACE_SCALE, SIZE_SCALE = 10, 5
SAMPLE = SampleFormat(
    height=SIZE,
    width=SIZE,
    pad=(0, 1, 0, 1),
    fill=(128, 128, 128),
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
)
UNKNOWN = -1
KNOWN = {
    1: 2,  # bicycle
    3: 73,  # laptop
    4: 1,  # person
    5: 62,  # chair
    6: 21,  # cattle: cow
    8: 17,  # cat
    9: 74,  # computer mouse
    10: 72,  # computer monitor: tv
    12: 47,  # mug: cup
    13: 47,  # coffee cup: cup
    15: 67,  # table: dining table
    16: 44,  # bottle
    20: 18,  # dog
    21: 84,  # book
    23: 3,  # car
}
"""COCO's ids of the MobileNetV2's classes that COCO has."""
LEAST_LOGIT = 1e-3
"""Taken off a threshold's logit, so that the exact score decides."""


def _part(classes: int) -> tuple[Part, ...]:
    outputs = tuple(
        Field(f"{what}{level}", "<f4", (grid, grid, width * boxes))
        for what, width in (("boxes", 4), ("classes", classes))
        for level, (grid, boxes) in enumerate(zip(GRIDS, BOXES, strict=True))
    )
    return (Part("network", (Field("image", "|u1", SAMPLE.shape),), outputs),)


class SSDMobileNetTask(DetectionTask):
    """SSD-MobileNet-v1 on COCO."""

    name = "ssd-mobilenet"
    title = "SSD-MobileNet-v1 300x300"
    aliases: tuple[str, ...] = ("ssd-small", "ssd-mobilenet-v1", "ssdmobilenet")
    benchmarks: tuple[Benchmark, ...] = (
        Benchmark(
            name="ssd-mobilenet",
            conf="ssd-mobilenet",
            metric="mAP",
            reference=22.0,
            share=0.99,
            scenarios=("SingleStream", "MultiStream", "Server", "Offline"),
            samples=5000,
            performance_samples=256,
            server_ms=10.0,
            audits=("TEST01", "TEST04"),
            audit_samples=256,
            edge="v1.1",
            official="ssd-small",
        ),
    )
    answer_bytes = KEPT * ROW_BYTES
    sample = SAMPLE
    resize = Resize.WHOLE
    preprocessing = "ssd-mobilenet-1"
    labels = Labels(90, ids=frozenset(range(1, 91)))
    annotation_files = ("annotations/instances_val2017.json", "instances_val2017.json")
    image_folders = ("val2017", "images")
    dataset = COCO
    threshold = 0.3
    classes = 91
    """With the background, which is class 0."""
    parts = _part(classes)
    category_of: npt.NDArray[np.int64] = np.arange(classes)
    """The category's id that is answered for a class; UNKNOWN for none."""
    published: tuple[PublishedFile, ...] = (
        PublishedFile(
            "ssd_mobilenet_v1_coco_2018_01_28.onnx",
            "https://zenodo.org/record/4735652/files/ssd_mobilenet_v1_coco_2018_01_28.onnx",
            "MLPerf's reference of v0.5, mAP 23%",
            record="https://zenodo.org/api/records/4735652",
        ),
    )

    @cached_property
    def _anchors(self) -> Array:
        return np.concatenate(ssd_anchors(GRIDS))

    def fitting(self, weights: Path) -> SSDMobileNetTask:
        """The variant on MobileNetV2, where they are its weights. Raises WeightsError."""
        from models.detection.weights import belongs_to

        return SSD_MOBILENET_V2 if belongs_to(SSD_MOBILENET_V2, weights) else SSD_MOBILENET

    def network(self) -> torch.nn.Module:
        """The untrained network."""
        from models.detection.networks.ssd_mobilenet import SSDMobileNetV1

        return SSDMobileNetV1(self.classes)

    head_names = ("classification", "regression")

    def heads(self) -> Heads:
        """Scores are sigmoids."""
        from models.detection.seeding import Heads

        places = sum(grid * grid * boxes for grid, boxes in zip(GRIDS, BOXES, strict=True))
        threshold = math.log(self.threshold / (1 - self.threshold))
        return Heads(*self.head_names, places * self.classes, threshold, codes=1.0)

    def detections(self, outputs: Mapping[str, Array]) -> Detections:
        """What the outputs for one image say, boxes in 0..1."""
        levels = range(len(GRIDS))
        logits = np.concatenate([outputs[f"classes{i}"].reshape(-1, self.classes) for i in levels])
        threshold = np.float32(self.threshold)
        near = np.log(threshold / (1 - threshold)) - np.float32(LEAST_LOGIT)
        places, labels = np.nonzero(logits[:, 1:] > near)
        labels += 1
        scores = 1 / (1 + np.exp(-logits[places, labels]))
        passed = (scores > threshold) & (self.category_of[labels] != UNKNOWN)
        places, labels, scores = places[passed], labels[passed], scores[passed]
        codes = np.concatenate([outputs[f"boxes{i}"].reshape(-1, 4) for i in levels])
        boxes = decoded(codes[places], self._anchors[places])
        best = kept(boxes, scores, labels, OVERLAP, KEPT)
        found = self.category_of[labels[best]]
        return Detections(boxes[best].clip(0, 1), scores[best], found)


class SSDMobileNetV2Task(SSDMobileNetTask):
    """SSD-MobileNetV2 of 23 classes, scored on those of COCO's that it knows."""

    name = "ssd-mobilenet-v2"
    title = "SSD-MobileNetV2 300x300, OpenImages V4"
    aliases = ("ssd-mobilenetv2",)
    origin = "of OpenImages V4 (SSD-MobileNetV2)"
    # MLPerf has no such network, and so no data set on which it would reach or miss anything.
    benchmarks = (replace(SSDMobileNetTask.benchmarks[0], samples=0),)
    threshold = 0.05
    classes = 24
    labels = Labels(23, ids=frozenset(KNOWN.values()), foreign=True)
    category_of = np.array([KNOWN.get(label, UNKNOWN) for label in range(classes)])
    preprocessing = "ssd-mobilenet-1"
    parts = _part(classes)
    head_names = ("cls.", "box.")
    branches = ("project",)
    published = ()

    def network(self) -> torch.nn.Module:
        """The untrained network."""
        from models.detection.networks.ssd_mobilenet import SSDMobileNetV2

        return SSDMobileNetV2(self.classes)


def decoded(codes: Array, anchors: Array) -> Array:
    """Boxes [n, 4]: left, top, right, bottom, as parts of the image."""
    centre = codes[:, :2] / np.float32(PLACE_SCALE) * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(codes[:, 2:] / np.float32(SIZE_SCALE)) * anchors[:, 2:] * np.float32(0.5)
    corners = np.concatenate([centre - half, centre + half], 1)
    return corners[:, [1, 0, 3, 2]]


SSD_MOBILENET = SSDMobileNetTask()
SSD_MOBILENET_V2 = SSDMobileNetV2Task()
