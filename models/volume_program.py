"""A quantised network over volumes: plain data, whatever the size of a window.

Operations name their tensors; a tensor has channels, a level (0 is the window's own resolution, 1
half of it, ...) and a type. Constants `<tensor>.steps`, float32 [channels], say what its integers
stand for: the real value of `q` is `q * step`; weights have the steps of what they read in them. A
tensor may lie inside another one, as some of its channels: that is how tensors are joined, and
nothing is copied or requantised for it.

A `Block` is a convolution, an instance norm and a ReLU. Between the two, each channel is stored as
int8 at a scale of its own, which the norm takes out again: it appears in `epsilon` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifact

KIND = "volume program"
TYPES: dict[str, type[np.generic]] = {"u8": np.uint8, "s8": np.int8, "f32": np.float32}


@dataclass(frozen=True)
class Tensor:
    """A value between operations, channels last."""

    channels: int
    level: int
    dtype: str
    host: str | None = None
    """The tensor whose channels from `offset` on it is."""
    offset: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in TYPES:
            raise ValueError(f"unknown tensor type {self.dtype!r}")


@dataclass(frozen=True)
class Block:
    """Convolution 3x3x3, padding 1; instance norm; ReLU, below 0 times `slope`.

    Constants: `<name>.weight` int8 (out, in, 3, 3, 3); `<name>.scales` float32 (out,), which
    sums are multiplied by to be stored; `<name>.gain` and `<name>.shift` float32, the norm's;
    `<name>.epsilon` float32, in squares of what is stored. Results are written to all `outputs`.
    """

    name: str
    source: str
    outputs: tuple[str, ...]
    stride: int
    slope: float


@dataclass(frozen=True)
class Double:
    """Transposed convolution 2x2x2, stride 2.

    Constants: `<name>.weight` int8 (8 out, in): all channels of the first of eight voxels, then of
    the next one along the last axis; `<name>.scales` and `<name>.bias` float32 (8 out,), in units
    of the output.
    """

    name: str
    source: str
    output: str


@dataclass(frozen=True)
class Head:
    """Convolution 1x1x1 to float32. Constants: weight (out, in), scales, bias as above."""

    name: str
    source: str
    output: str


Operation = Block | Double | Head
OPERATIONS: dict[str, type[Operation]] = {"block": Block, "double": Double, "head": Head}


@dataclass(frozen=True)
class VolumeProgram:
    """Operations in order, their tensors and constants. The input is quantised by its steps."""

    input: str
    output: str
    tensors: dict[str, Tensor]
    operations: tuple[Operation, ...]
    constants: Mapping[str, NDArray[Any]]

    @property
    def multiple(self) -> int:
        """What sides of a window must be multiples of."""
        return 1 << max(tensor.level for tensor in self.tensors.values())

    def macs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Multiply-accumulate operations of each operation on a window."""
        voxels, found = int(np.prod(shape, dtype=np.int64)), {}
        for operation in self.operations:
            output = operation.outputs[0] if isinstance(operation, Block) else operation.output
            level = self.tensors[output].level + isinstance(operation, Double)
            weight = self.constants[f"{operation.name}.weight"]
            found[operation.name] = int(weight.size) * (voxels >> 3 * level)
        return found

    def describe(self) -> dict[str, Any]:
        """The program without its constants, as JSON values."""
        kinds = {kind: name for name, kind in OPERATIONS.items()}
        return {
            "input": self.input,
            "output": self.output,
            "tensors": {name: asdict(tensor) for name, tensor in self.tensors.items()},
            "operations": [{"kind": kinds[type(o)], **asdict(o)} for o in self.operations],
        }

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the program with `facts` about its origin."""
        artifact.write(path, KIND, {**facts, "program": self.describe()}, self.constants)


def from_description(description: Mapping[str, Any], constants: artifact.Arrays) -> VolumeProgram:
    """The reverse of `describe`; raises ValueError, KeyError or TypeError."""
    tensors = {name: Tensor(**entry) for name, entry in description["tensors"].items()}
    operations: list[Operation] = []
    for entry in description["operations"]:
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k != "kind"
        }
        operations.append(OPERATIONS[entry["kind"]](**values))
    return VolumeProgram(
        description["input"], description["output"], tensors, tuple(operations), constants
    )


def load(path: Path) -> tuple[VolumeProgram, dict[str, Any]]:
    """The program at `path` and the facts saved with it; raises artifact.ArtifactError."""
    opened = artifact.read(path, KIND)
    facts = dict(opened.facts)
    try:
        return from_description(facts.pop("program"), opened.arrays), facts
    except artifact.UNREADABLE as error:
        raise artifact.ArtifactError(
            f"{path}: not a program ({type(error).__name__}: {artifact.quoted_error(error)})"
        ) from None
