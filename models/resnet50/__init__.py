"""ResNet-50 v1.5, MLPerf's image classification model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from models.imagenet.classifier import Classifier
from models.imagenet.preprocess import opencv_square, torchvision_square
from models.model import SampleFormat

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _ResNet50(Classifier):
    same_pooling: bool = field(default=False, kw_only=True)

    def network(self) -> torch.nn.Module:
        from models.resnet50.network import ResNet50

        return ResNet50(self.classes, self.same_pooling).eval()


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

RESNET50_TF = replace(
    RESNET50,
    name="resnet50-tf",
    aliases=(),
    sample=replace(
        RESNET50.sample,
        fill=(124, 117, 104),
        mean=(123.68, 116.78, 103.94),
        std=(1.0, 1.0, 1.0),
    ),
    classes=1001,
    preprocessing="resnet50-tf-0",
    label_offset=-1,
    square=opencv_square,
    same_pooling=True,
)
"""With TensorFlow's weights (MLPerf's ONNX): a background class, SAME pooling, the mean alone.

The reference (`pre_process_vgg`) scales with OpenCV's INTER_AREA; version 0 scales bilinearly.
"""
