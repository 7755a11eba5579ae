"""An int8 encoder as a file that all instances map: written once, run by either way.

facts      shape       dimensions of the encoder
arrays     as `executor.pack` lays them out for tiles; what runs without tiles puts them in order
           again, so that weights stand on the disk once
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models import artifact
from netrun.engines.transformer.executor import Arrays, Shape, pack

KIND = "int8-encoder"
PACKING = 1  # raised when the same arrays would be stored in another way


def write(path: Path, arrays: Arrays, shape: Shape, key: Mapping[str, Any]) -> None:
    """Write arrays of models.quantize.encoder, with `key`, what shaped them."""
    artifact.write(path, KIND, {**key, "shape": asdict(shape)}, pack(arrays, shape))


def read(path: Path) -> tuple[Arrays, Shape]:
    """The mapped arrays and the dimensions. Raises artifact.ArtifactError."""
    found = artifact.read(path, KIND)
    try:
        return found.arrays, Shape(**found.facts["shape"])
    except artifact.UNREADABLE as error:
        reason = artifact.quoted_error(error)
        raise artifact.ArtifactError(f"{path}: not an encoder ({reason})") from None
