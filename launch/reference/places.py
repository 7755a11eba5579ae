"""Backends, models and data sets of the reference's run_local.sh, and where its files lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BACKENDS: Mapping[str, Sequence[str]] = {
    "pytorch": ("--engine=pytorch", "--precision=fp32"),
    "pytorch-native": ("--engine=pytorch", "--precision=fp32"),
    "onnxruntime": ("--engine=onnxruntime", "--precision=fp32"),
    "openvino": ("--engine=openvino",),
    "onednn": ("--engine=onednn",),
}
"""The reference computes in fp32; `openvino` and `onednn`, which it lacks, in int8 by default."""
DEVICES = ("cpu",)


@dataclass(frozen=True)
class Place:
    """A model, or a model on a data set: its task here, and the names of its files.

    `weights` may lie in $MODEL_DIR; `data` are options for what lies in $DATA_DIR, of which the
    first one must be there.
    """

    task: str
    weights: Sequence[str] = ()
    data: Sequence[tuple[str, str]] = ()


_PICTURES = (("--images", "."), ("--labels", "val_map.txt"))
_COCO = (("--images", "val2017"), ("--annotations", "annotations/instances_val2017.json"))
_OPENIMAGES = (("--images", "."),)
"""The task finds images and annotations in it."""
_ROWS = (("--data", "."),)
PLACES: Mapping[str, Place] = {
    "resnet50": Place(
        "resnet50",
        ("resnet50-19c8e357.pth", "resnet50-0676ba61.pth", "resnet50_v1.onnx"),
        _PICTURES,
    ),
    "mobilenet": Place(
        "mobilenet", ("mobilenet_v1_1.0_224.pth", "mobilenet_v1_1.0_224.onnx"), _PICTURES
    ),
    "retinanet": Place(
        "retinanet", ("resnext50_32x4d_fpn.pth", "resnext50_32x4d_fpn.onnx"), _OPENIMAGES
    ),
    "ssd-mobilenet": Place(
        "ssd-mobilenet",
        ("ssd_mobilenet_v1.pytorch", "ssd_mobilenet_v1_coco_2018_01_28.onnx"),
        _COCO,
    ),
    "ssd-resnet34": Place(
        "ssd-resnet34", ("resnet34-ssd1200.pytorch", "resnet34-ssd1200.onnx"), _COCO
    ),
    "dlrm": Place("dlrm", ("dlrm_terabyte.pytorch", "tb00_40M.pt", "tb0875_10M.pt"), _ROWS),
    "dlrm terabyte": Place(
        "dlrm", ("dlrm_terabyte.pytorch", "tb00_40M.pt", "tb0875_10M.pt"), _ROWS
    ),
    "dlrm kaggle": Place("dlrm", ("dlrm_kaggle.pytorch",), _ROWS),
    "dlrm multihot-criteo": Place("dlrm-v2", ("dlrm-v2.pt",), _ROWS),
    "dlrm debug": Place("dlrm-v2"),
}
"""By MODEL, or MODEL and DATASET."""
