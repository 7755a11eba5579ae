"""ResNet-50 v1.5, MLPerf's image classification model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.imagenet.classifier import Classifier
from models.imagenet.preprocess import torchvision_square
from models.model import SampleFormat

if TYPE_CHECKING:
    import torch


class _ResNet50(Classifier):
    def network(self) -> torch.nn.Module:
        from models.resnet50.network import ResNet50

        return ResNet50(self.classes).eval()


RESNET50 = _ResNet50(
    name="resnet50",
    title="ResNet-50 v1.5",
    mlperf_name="resnet50",
    aliases=("resnet", "resnet-50", "resnet50-v1.5", "resnet50-v1-5", "resnet50v1.5"),
    sample=SampleFormat(
        height=224,
        width=224,
        pad=(3, 3, 3, 3),
        fill=(124, 116, 104),
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
        std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
    ),
    classes=1000,
    response_bytes=4,
    fp32_accuracy=0.76456,
    quality_target=0.99,
    preprocessing="resnet50-1",
    label_offset=0,
    square=torchvision_square,
    server_latency_ms=15.0,
)
