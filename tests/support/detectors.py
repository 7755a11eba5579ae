"""A small detector: 64 x 64 pixels, three categories, a network of three layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from models.detection.anchors import ssd_anchors
from models.detection.answers import Detections
from models.detection.labels import Labels
from models.detection.nms import kept
from models.detection.seeding import Heads
from models.detection.ssd_mobilenet import SSDMobileNetTask, decoded
from models.sample import SampleFormat
from models.task import Array, Field, Part

SIZE, GRID, BOXES, CLASSES = 64, 16, 3, 4
SAMPLE = SampleFormat(
    height=SIZE,
    width=SIZE,
    pad=(1, 1, 1, 1),
    fill=(128, 128, 128),
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.body = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.regression = nn.Conv2d(32, 4 * BOXES, 1)
        self.classification = nn.Conv2d(32, CLASSES * BOXES, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = torch.relu(self.body(torch.relu(self.stem(x))))
        heads = (self.regression(x), self.classification(x))
        return tuple(head.permute(0, 2, 3, 1) for head in heads)


class SmallDetector(SSDMobileNetTask):
    name = "small-detector"
    title = "A small detector"
    aliases = ()
    benchmarks = (replace(SSDMobileNetTask.benchmarks[0], name="small-detector"),)
    sample = SAMPLE
    labels = Labels(CLASSES - 1, ids=frozenset(range(1, CLASSES)))
    parts = (
        Part(
            "network",
            (Field("image", "|u1", SAMPLE.shape),),
            (
                Field("boxes0", "<f4", (GRID, GRID, 4 * BOXES)),
                Field("classes0", "<f4", (GRID, GRID, CLASSES * BOXES)),
            ),
        ),
    )
    published = ()

    def network(self) -> nn.Module:
        return Network()

    def heads(self) -> Heads:
        return Heads(
            "classification", "regression", 8 * GRID * GRID * BOXES, math.log(3 / 7), codes=1.0
        )

    def detections(self, outputs: Mapping[str, Array]) -> Detections:
        logits = outputs["classes0"].reshape(-1, CLASSES)
        places, labels = np.nonzero(logits[:, 1:] > math.log(3 / 7))
        labels += 1
        scores = 1 / (1 + np.exp(-logits[places, labels]))
        anchors = ssd_anchors([GRID, 1])[0]
        boxes = decoded(outputs["boxes0"].reshape(-1, 4)[places], anchors[places])
        best = kept(boxes, scores, labels, 0.6, 100)
        return Detections(boxes[best].clip(0, 1), scores[best], labels[best])


SMALL_DETECTOR = SmallDetector()
