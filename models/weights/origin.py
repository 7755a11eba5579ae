"""Where weights come from, which decides how images must be preprocessed for them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from models.errors import WeightsError
from models.weights.kind import Kind, kind_of

Origin = Literal["torchvision", "tf"]
CLASSES: dict[int, Origin] = {1000: "torchvision", 1001: "tf"}
"""TensorFlow's ImageNet networks have a background class before the thousand."""


def origin_of(path: Path) -> Origin:
    """Return the origin of an ImageNet classifier's weights: ONNX is recognised by its classes.

    State dictionaries have torchvision's names and are torchvision's. Imports no torch. Raises
    WeightsError.
    """
    if kind_of(path) is not Kind.ONNX:
        return "torchvision"
    from models.weights.onnx_file import read_graph
    from models.weights.onnx_layers import head

    classes = len(head(read_graph(path)).weight)
    if classes not in CLASSES:
        raise WeightsError(f"{path}: has {classes} classes, expected 1000 or 1001 (ImageNet)")
    return CLASSES[classes]
