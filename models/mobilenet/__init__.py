"""MobileNet-v1 1.0 224, the light image classification model of MLPerf Inference v0.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.imagenet.classifier import Classifier
from models.imagenet.dataset import VALIDATION_IMAGES
from models.imagenet.preprocess import opencv_square
from models.published import PublishedFile
from models.sample import SampleFormat
from models.task import Benchmark

if TYPE_CHECKING:
    import torch


class _MobileNet(Classifier):
    def network(self) -> torch.nn.Module:
        from models.mobilenet.network import MobileNet

        return MobileNet(self.classes).eval()


MOBILENET = _MobileNet(
    name="mobilenet",
    title="MobileNet-v1 1.0 224",
    aliases=("mobilenet-v1", "mobilenetv1", "mobilenet-v1-1.0-224"),
    benchmarks=(
        # Of MLPerf Inference v0.5; later rounds have none.
        Benchmark(
            name="mobilenet",
            conf="mobilenet",
            metric="accuracy",
            reference=71.676,
            share=0.98,
            scenarios=("SingleStream", "MultiStream", "Server", "Offline"),
            samples=VALIDATION_IMAGES,
            performance_samples=1024,
            server_ms=10.0,
            audits=("TEST01", "TEST04"),
            official="resnet",
        ),
    ),
    sample=SampleFormat(
        height=224,
        width=224,
        pad=(0, 1, 0, 1),
        fill=(128, 128, 128),
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
    ),
    classes=1001,
    preprocessing="mobilenet-2",
    label_offset=-1,
    square=opencv_square,
    published=(
        PublishedFile(
            "mobilenet_v1_1.0_224.onnx",
            "https://zenodo.org/record/4735651/files/mobilenet_v1_1.0_224.onnx",
            "MLPerf's reference of v0.5, 71.676%",
            record="https://zenodo.org/api/records/4735651",
        ),
    ),
)
