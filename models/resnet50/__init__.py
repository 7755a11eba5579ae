"""ResNet-50 v1.5, MLPerf's image classification model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.imagenet.area import opencv_area_square
from models.imagenet.classifier import Classifier
from models.imagenet.dataset import VALIDATION_IMAGES
from models.imagenet.preprocess import torchvision_square
from models.published import PublishedFile
from models.sample import resnet_sample
from models.task import Benchmark

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class _ResNet50(Classifier):
    same_pooling: bool = False

    def network(self) -> torch.nn.Module:
        from models.resnet50.network import ResNet50

        return ResNet50(self.classes, self.same_pooling).eval()

    def fitting(self, weights: Path) -> Classifier:
        """The variant for TensorFlow's weights, where they are those. Raises WeightsError."""
        from models.weights.origin import origin_of

        return RESNET50_TF if origin_of(weights) == "tf" else RESNET50


RESNET50 = _ResNet50(
    name="resnet50",
    title="ResNet-50 v1.5",
    aliases=("resnet", "resnet-50", "resnet50-v1.5", "resnet50-v1-5", "resnet50v1.5"),
    benchmarks=(
        Benchmark(
            name="resnet50",
            conf="resnet50",
            metric="accuracy",
            # As the rules and the submission checker round it; the reference's own is 76.456%.
            reference=76.46,
            share=0.99,
            scenarios=("SingleStream", "MultiStream", "Server", "Offline"),
            samples=VALIDATION_IMAGES,
            performance_samples=1024,
            server_ms=15.0,
            audits=("TEST01", "TEST04"),
            edge="v6.1",
            datacenter="v5.0",
            official="resnet",
        ),
    ),
    sample=resnet_sample(224),
    classes=1000,
    preprocessing="resnet50-2",
    label_offset=0,
    square=torchvision_square,
    published=(
        # Checksums of Zenodo's files: MLCommons' script get-ml-model-resnet50. torchvision's names
        # hold the first digits of SHA-256.
        PublishedFile(
            "resnet50_v1.onnx",
            "https://zenodo.org/record/4735647/files/resnet50_v1.onnx",
            "MLPerf's reference, 76.456%",
            "md5:f6a4da60cd5f084d97efc2c1ddb10beb",
        ),
        PublishedFile(
            "resnet50-0676ba61.pth",
            "https://download.pytorch.org/models/resnet50-0676ba61.pth",
            "torchvision's IMAGENET1K_V1, 76.130%",
            "sha256:0676ba61",
        ),
        PublishedFile(
            "resnet50-11ad3fa6.pth",
            "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
            "torchvision's IMAGENET1K_V2, 80.858%",
            "sha256:11ad3fa6",
        ),
        PublishedFile(
            "resnet50-19c8e357.pth",
            "https://zenodo.org/record/4588417/files/resnet50-19c8e357.pth",
            "MLPerf's for PyTorch, 76.014%",
            "md5:9e9c86b324d80e65229fab49b8d9a8e8",
        ),
    ),
)

RESNET50_TF = replace(
    RESNET50,
    name="resnet50-tf",
    origin="TensorFlow's (1001 outputs)",
    aliases=(),
    sample=replace(
        RESNET50.sample,
        fill=(124, 117, 104),
        mean=(123.68, 116.78, 103.94),
        std=(1.0, 1.0, 1.0),
    ),
    classes=1001,
    preprocessing="resnet50-tf-1",
    label_offset=-1,
    square=opencv_area_square,
    same_pooling=True,
)
"""With TensorFlow's weights (MLPerf's ONNX): a background class, SAME pooling, the mean alone.

The reference (`pre_process_vgg`) scales with OpenCV's INTER_AREA; version 0 scales bilinearly.
"""
