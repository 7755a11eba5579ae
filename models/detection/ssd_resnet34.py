"""SSD-ResNet34 (1200x1200, COCO): MLPerf's large object detection of v0.5 to v2.0.

Decoding is that of the reference's models/ssd_r34.py: softmax over the classes, of each class the
200 best scores above 0.05, suppression, the best 200 of the image. In the reference, two boxes that
are apart both horizontally and vertically have the product of two negative numbers for their
intersection and may suppress each other; here they have none, as it was meant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from models.detection.anchors import r34_boxes
from models.detection.answers import ROW_BYTES, Detections
from models.detection.folders import COCO
from models.detection.labels import Labels
from models.detection.nms import kept
from models.detection.task import DetectionTask, Resize
from models.published import PublishedFile
from models.sample import resnet_sample
from models.task import Array, Benchmark, Field, Part

if TYPE_CHECKING:
    import torch

    from models.detection.seeding import Heads

SIZE = 1200
GRIDS = (50, 25, 13, 7, 3, 3)
BOXES = (4, 6, 6, 6, 4, 4)
"""Of a cell, by level."""
CLASSES = 81
"""With the background, which is class 0."""
THRESHOLD = 0.05
BEST_OF_CLASS = 200
OVERLAP = 0.5
KEPT = 200
PLACE_SCALE, SIZE_SCALE = 0.1, 0.2
MARGIN = 1e-3
"""Of a logit, that rounding may take."""


class SSDResNet34Task(DetectionTask):
    """SSD-ResNet34 on COCO."""

    name = "ssd-resnet34"
    title = "SSD-ResNet34 1200x1200"
    aliases = ("ssd-large", "ssd-r34", "ssdresnet34")
    benchmarks = (
        Benchmark(
            name="ssd-resnet34",
            conf="ssd-resnet34",
            metric="mAP",
            reference=20.0,
            share=0.99,
            scenarios=("SingleStream", "MultiStream", "Server", "Offline"),
            samples=5000,
            performance_samples=64,
            server_ms=100.0,
            audits=("TEST01", "TEST04"),
            audit_samples=256,
            edge="v2.0",
            datacenter="v2.0",
            official="ssd-large",
        ),
    )
    answer_bytes = KEPT * ROW_BYTES
    sample = resnet_sample(SIZE)
    resize = Resize.FLOAT
    preprocessing = "ssd-resnet34-1"
    normalised_files = True
    labels = Labels(CLASSES - 1, in_order=True)
    annotation_files = ("annotations/instances_val2017.json", "instances_val2017.json")
    image_folders = ("val2017", "images")
    dataset = COCO
    parts = (
        Part(
            "network",
            (Field("image", "|u1", sample.shape),),
            tuple(
                Field(f"{what}{level}", "<f4", (grid, grid, width * boxes))
                for what, width in (("boxes", 4), ("classes", CLASSES))
                for level, (grid, boxes) in enumerate(zip(GRIDS, BOXES, strict=True))
            ),
        ),
    )
    published = (
        PublishedFile(
            "resnet34-ssd1200.onnx",
            "https://zenodo.org/record/3228411/files/resnet34-ssd1200.onnx",
            "MLPerf's reference, mAP 20.0%",
            record="https://zenodo.org/api/records/3228411",
        ),
    )

    @cached_property
    def _boxes(self) -> Array:
        """By level, place, then box: the order of the outputs in memory."""
        levels = [boxes.transpose(1, 0, 2).reshape(-1, 4) for boxes in r34_boxes(SIZE, GRIDS)]
        return np.concatenate(levels)

    def network(self) -> torch.nn.Module:
        """The untrained network."""
        from models.detection.networks.ssd_resnet34 import SSDResNet34

        return SSDResNet34(CLASSES)

    branches = ("bn2",)

    def heads(self) -> Heads:
        """Classes come before boxes among the channels; the background's logits are 0."""
        from models.detection.seeding import Heads

        places = sum(grid * grid * boxes for grid, boxes in zip(GRIDS, BOXES, strict=True))
        threshold = math.log(THRESHOLD / (1 - THRESHOLD))
        return Heads("conf.", "loc.", places * CLASSES, threshold, 1.0, background=CLASSES)

    def detections(self, outputs: Mapping[str, Array]) -> Detections:
        """What the outputs for one image say, boxes in 0..1."""
        found, codes = [], []
        first = 0
        for level, boxes in enumerate(BOXES):
            logits = outputs[f"classes{level}"].reshape(-1, CLASSES, boxes)
            places, labels, scores = _above(logits)
            found.append((first + places, labels, scores))
            codes.append(outputs[f"boxes{level}"].reshape(-1, 4, boxes).transpose(0, 2, 1))
            first += len(logits) * boxes
        places, labels, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        best = _best_of_classes(labels, scores)
        places, labels, scores = places[best], labels[best], scores[best]
        every = np.concatenate([code.reshape(-1, 4) for code in codes])
        boxes_found = decoded(every[places], self._boxes[places])
        chosen = kept(boxes_found, scores, labels, OVERLAP, KEPT, reaching=True)
        return Detections(boxes_found[chosen], scores[chosen], labels[chosen])


def _above(logits: Array) -> tuple[Array, Array, Array]:
    """Boxes (place by place), labels and scores of what passes the threshold, [places, 81, b]."""
    count = logits.shape[2]
    # A score is less than the part of its power in that of the background: most boxes are looked
    # at no further.
    least = logits[:, 0] + np.float32(math.log(THRESHOLD) - MARGIN)
    flat = logits.reshape(len(logits), -1)
    near = np.flatnonzero(flat[:, count:] > np.tile(least, CLASSES - 1))
    places, channels = np.divmod(near, flat.shape[1] - count)
    boxes, which = np.unique(places * count + channels % count, return_inverse=True)
    rows = logits[boxes // count, :, boxes % count]
    powers = np.exp(rows - rows.max(1, keepdims=True))
    scores = powers / powers.sum(1, keepdims=True)
    labels = channels // count + 1
    found = scores[which, labels]
    passed = found > np.float32(THRESHOLD)
    return boxes[which[passed]], labels[passed], found[passed]


def _best_of_classes(labels: Array, scores: Array) -> Array:
    """Indices of the BEST_OF_CLASS best of each class."""
    order = np.lexsort((-scores, labels))
    sorted_labels = labels[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_labels, sorted_labels)
    best: Array = order[rank < BEST_OF_CLASS]
    return best


def decoded(codes: Array, boxes: Array) -> Array:
    """Boxes [n, 4]: left, top, right, bottom, as parts of the image."""
    centre = np.float32(PLACE_SCALE) * codes[:, :2] * boxes[:, 2:] + boxes[:, :2]
    half = np.float32(0.5) * (np.exp(np.float32(SIZE_SCALE) * codes[:, 2:]) * boxes[:, 2:])
    return np.concatenate([centre - half, centre + half], 1)


SSD_RESNET34 = SSDResNet34Task()
