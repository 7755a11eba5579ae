"""RetinaNet (ResNeXt50-32x4d FPN, 800x800, OpenImages): MLPerf's object detection of v2.1 to v6.0.

Decoding is that of mlcommons/training's retired_benchmarks/retinanet and of the reference's
openimages.py: from each level the thousand best scores above 0.05, suppression class by class, the
best 300 of the image. The one difference is in rounding: torchvision, for up to a thousand boxes,
shifts those of different classes apart in float32 instead of looking at one class after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from models.detection.anchors import retinanet_anchors
from models.detection.answers import ROW_BYTES, Detections
from models.detection.folders import OPENIMAGES
from models.detection.labels import Labels
from models.detection.nms import kept
from models.detection.task import DetectionTask, Resize
from models.gated import Gated
from models.published import PublishedFile
from models.sample import resnet_sample
from models.task import Array, Benchmark, Field, Part

if TYPE_CHECKING:
    import torch

    from models.detection.seeding import Heads

SIZE = 800
GRIDS = (100, 50, 25, 13, 7)
"""Cells of the levels P3 to P7, each way."""
ANCHORS = 9
CLASSES = 264
THRESHOLD = 0.05
BEST_OF_LEVEL = 1000
OVERLAP = 0.5
KEPT = 300
LARGEST_GROWTH = math.log(1000 / 16)
"""Of an anchor's width and height, as a logarithm."""

# The sigmoid is 0.05 at -2.9444; what lies between is looked at more closely.
NEAR_THRESHOLD = -2.945
SURE = 6.0
"""Logit of a score of 0.9975: detections that are surer are not told apart in int8."""


class RetinaNetTask(DetectionTask):
    """RetinaNet on OpenImages."""

    name = "retinanet"
    title = "RetinaNet ResNeXt50-32x4d FPN"
    aliases = ("retinanet-resnext50", "resnext50-retinanet")
    benchmarks = (
        Benchmark(
            name="retinanet",
            conf="retinanet",
            metric="mAP",
            reference=37.55,
            share=0.99,
            scenarios=("SingleStream", "MultiStream", "Server", "Offline"),
            samples=24_781,
            performance_samples=64,
            server_ms=100.0,
            audits=("TEST01",),
            audit_samples=256,
            edge="v2.1-v6.0",
            datacenter="v2.1-v6.0",
        ),
    )
    answer_bytes = KEPT * ROW_BYTES
    sample = resnet_sample(SIZE)
    resize = Resize.FLOAT
    preprocessing = "retinanet-1"
    labels = Labels(CLASSES, ids=frozenset(range(CLASSES)))
    annotation_files = ("annotations/openimages-mlperf.json", "openimages-mlperf.json")
    image_folders = ("validation/data", "validation", "data")
    dataset = OPENIMAGES
    parts = (
        Part(
            "network",
            (Field("image", "|u1", sample.shape),),
            (
                *(
                    Gated(
                        f"scores{level}",
                        "<f4",
                        (grid, grid, ANCHORS * CLASSES),
                        NEAR_THRESHOLD,
                        SURE,
                    )
                    for level, grid in enumerate(GRIDS, start=3)
                ),
                *(
                    Field(f"boxes{level}", "<f4", (grid, grid, ANCHORS * 4))
                    for level, grid in enumerate(GRIDS, start=3)
                ),
            ),
        ),
    )
    published = (
        PublishedFile(
            "resnext50_32x4d_fpn.pth",
            "https://zenodo.org/record/6617981/files/resnext50_32x4d_fpn.pth",
            "MLPerf's reference for PyTorch, mAP 37.55%",
            "md5:a55f6bec3464f605ce8d686da8ac1533",
        ),
        PublishedFile(
            "resnext50_32x4d_fpn.onnx",
            "https://zenodo.org/record/6617879/files/resnext50_32x4d_fpn.onnx",
            "MLPerf's reference for ONNX, mAP 37.57%",
            "md5:4544f4e56e0a4684215831cc937ea45c",
        ),
        PublishedFile(
            "retinanet_model_10.zip",
            "https://zenodo.org/record/6605272/files/retinanet_model_10.zip",
            "the checkpoint of the training that both are of; unpack it",
            "md5:2037c152a6be18e371ebec654314f7e0",
        ),
    )

    @cached_property
    def _anchors(self) -> list[Array]:
        return [*retinanet_anchors(SIZE, GRIDS)]

    def network(self) -> torch.nn.Module:
        """The untrained network."""
        from models.detection.networks.retinanet import RetinaNet

        return RetinaNet(CLASSES)

    branches = ("bn3",)

    def heads(self) -> Heads:
        """Both are shared by all levels."""
        from models.detection.seeding import Heads

        logits = sum(grid * grid for grid in GRIDS) * ANCHORS * CLASSES
        return Heads("cls_logits", "bbox_reg", logits, NEAR_THRESHOLD, codes=0.2)

    def detections(self, outputs: Mapping[str, Array]) -> Detections:
        """What the outputs for one image say, boxes in 0..1."""
        found = [
            self._of_level(level, outputs, anchors)
            for level, anchors in enumerate(self._anchors, start=3)
        ]
        boxes, scores, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
        best = kept(boxes, scores, labels, OVERLAP, KEPT)
        found_boxes: Array = boxes[best] / np.float32(SIZE)
        return Detections(found_boxes, scores[best], labels[best])

    def _of_level(
        self, level: int, outputs: Mapping[str, Array], anchors: Array
    ) -> tuple[Array, Array, Array]:
        """Boxes in pixels, scores and labels of a level's best candidates."""
        field = self.parts[0].outputs[level - 3]
        assert isinstance(field, Gated)
        places, logits = field.candidates(outputs[f"scores{level}"])
        scores: Array = 1 / (1 + np.exp(-logits))
        passed = scores > np.float32(THRESHOLD)
        places, scores = places[passed], scores[passed]
        if len(scores) > BEST_OF_LEVEL:
            least = np.partition(scores, -BEST_OF_LEVEL)[-BEST_OF_LEVEL]
            chance = np.flatnonzero(scores >= least)
            places, scores = places[chance], scores[chance]
        best = np.argsort(-scores, kind="stable")[:BEST_OF_LEVEL]
        places, scores = places[best], scores[best]
        chosen, labels = np.divmod(places, CLASSES)
        codes = outputs[f"boxes{level}"].reshape(-1, 4)[chosen]
        return decoded(codes, anchors[chosen]), scores, labels


def decoded(codes: Array, anchors: Array) -> Array:
    """Boxes [n, 4] in pixels, within the image: left, top, right, bottom."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + np.float32(0.5) * size
    centre = codes[:, :2] * size + centre
    grown = np.exp(np.minimum(codes[:, 2:], np.float32(LARGEST_GROWTH))) * size
    half = np.float32(0.5) * grown
    return np.concatenate([centre - half, centre + half], 1).clip(0, SIZE)


RETINANET = RetinaNetTask()
