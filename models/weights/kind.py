"""What kind of file weights come in, by its first bytes and not by its name."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from models.errors import WeightsError


class Kind(Enum):
    """The kinds that are read; any other file is tried as a PyTorch file."""

    TORCH = "PyTorch"
    SAFETENSORS = "safetensors"
    ONNX = "ONNX"


def kind_of(path: Path) -> Kind:
    """Return the kind of a weights file. Raises WeightsError where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    # safetensors: the length of a JSON object as little-endian u64, and the object.
    if head[8:] == b"{":
        return Kind.SAFETENSORS
    # ONNX: a protobuf whose first field is the version (field 1, varint), a small number.
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and b"\0" < head[1:2] < b"\x20"):
        return Kind.ONNX
    return Kind.TORCH
