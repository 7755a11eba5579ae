"""The folder of real weights and images that benchmarks take by ``--data``."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = {"resnet50": "resnet50_v1.5.pth", "mobilenet": "mobilenet_v1_1.0_224.pth"}
VALIDATION = "imagenet_val650"
CALIBRATION = "calibration200"


def images(data: Path, folder: str) -> list[Path]:
    """The images of one of the folders, by name."""
    return sorted((data / folder).glob("*.JPEG"))
