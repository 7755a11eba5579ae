"""A quantised network as a short list of fused operations: what int8 engines execute.

A program is plain data, without torch: every operation names its operands, every tensor has a
per-sample channels-last shape, a type and a scale, and constants are numpy arrays. The real value
of a stored integer ``q`` of tensor ``t`` is ``q * t.scale``; zero points are always 0. Outputs that
nothing else reads may be given above a threshold, as ``t.offset + q * t.scale``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifact

KIND = "program"
RARE: dict[str, Any] = {"offset": 0.0, "shares": None}
"""Fields that are described only where they have another value."""
DTYPES: dict[str, type[np.generic]] = {"u8": np.uint8, "s8": np.int8, "f32": np.float32}


@dataclass(frozen=True)
class Tensor:
    """A value that flows between operations. `shape` is per sample: (H, W, C) or (C,)."""

    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    """What a stored 0 stands for; other than 0.0 in outputs alone."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"unknown tensor type {self.dtype!r}")

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The numpy type of one element."""
        return np.dtype(DTYPES[self.dtype])


@dataclass(frozen=True)
class Convolution:
    """``output = clamp(conv(source, weight) + bias + residual)``, stored at the output's scale.

    Constants by name: ``<name>.weight`` int8 (out, in / groups, kh, kw), ``<name>.scales`` float32
    (out,), ``<name>.bias`` float32 (out,). `padding` is (top, bottom, left, right). `clamp` is None
    (no activation), or the upper bound of an activation whose lower bound is 0 (inf for ReLU).
    `shares` names another layer whose constants it uses, as a detector's heads do at every level.
    """

    name: str
    source: str
    output: str
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int = 1
    residual: str | None = None
    clamp: float | None = None
    shares: str | None = None
    kind: str = field(default="convolution", init=False)

    @property
    def layer(self) -> str:
        """The name that its constants have."""
        return self.shares or self.name


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; source and output share type and scale."""

    name: str
    source: str
    output: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    kind: str = field(default="max_pool", init=False)


@dataclass(frozen=True)
class Upsample:
    """Every pixel `factor` times each way (nearest); source and output share type and scale."""

    name: str
    source: str
    output: str
    factor: int
    kind: str = field(default="upsample", init=False)


@dataclass(frozen=True)
class Linear:
    """``output = source @ weight.T + bias`` in float32, the source's positions flattened.

    Constants as for Convolution; the weight is (out, in).
    """

    name: str
    source: str
    output: str
    kind: str = field(default="linear", init=False)

    @property
    def layer(self) -> str:
        """The name that its constants have."""
        return self.name


Operation = Convolution | MaxPool | Upsample | Linear
OPERATIONS: dict[str, type[Operation]] = {
    "convolution": Convolution,
    "max_pool": MaxPool,
    "upsample": Upsample,
    "linear": Linear,
}


@dataclass(frozen=True)
class Program:
    """Operations in execution order, the tensors they pass and their constants."""

    input: str
    output: str
    tensors: dict[str, Tensor]
    operations: tuple[Operation, ...]
    constants: Mapping[str, NDArray[Any]]
    further: tuple[str, ...] = ()
    """Outputs beside `output`, which is the first."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs, in the order of the network's."""
        return (self.output, *self.further)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulate operations per sample of each convolution and linear layer."""
        counts: dict[str, int] = {}
        for operation in self.operations:
            if isinstance(operation, (Convolution, Linear)):
                weight = self.constants[f"{operation.layer}.weight"]
                positions = int(np.prod(self.tensors[operation.output].shape[:-1], dtype=np.int64))
                counts[operation.name] = int(weight.size) * positions
        return counts

    def describe(self) -> dict[str, Any]:
        """The program without its constants, as JSON values."""
        described = {
            "input": self.input,
            "output": self.output,
            "tensors": {name: _values(tensor) for name, tensor in self.tensors.items()},
            "operations": [_values(operation) for operation in self.operations],
        }
        return {**described, "further": list(self.further)} if self.further else described

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the program with `facts` about its origin."""
        artifact.write(path, KIND, {**facts, "program": self.describe()}, self.constants)


def _values(described: Tensor | Operation) -> dict[str, Any]:
    """The fields of a part of a program, without those that few have where they say nothing."""
    values = asdict(described)
    return {k: v for k, v in values.items() if k not in RARE or v != RARE[k]}


def from_description(description: Mapping[str, Any], constants: artifact.Arrays) -> Program:
    """The reverse of `Program.describe`; raises ValueError, KeyError or TypeError."""
    tensors = {
        name: Tensor(
            tuple(entry["shape"]),
            entry["dtype"],
            float(entry["scale"]),
            float(entry.get("offset", 0.0)),
        )
        for name, entry in description["tensors"].items()
    }
    operations: list[Operation] = []
    for entry in description["operations"]:
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k != "kind"
        }
        operations.append(OPERATIONS[entry["kind"]](**values))
    further = tuple(description.get("further", ()))
    return Program(
        description["input"], description["output"], tensors, tuple(operations), constants, further
    )


def load(path: Path) -> tuple[Program, dict[str, Any]]:
    """The program at `path` and the facts saved with it; raises artifact.ArtifactError."""
    opened = artifact.read(path, KIND)
    facts = dict(opened.facts)
    try:
        return from_description(facts.pop("program"), opened.arrays), facts
    except artifact.UNREADABLE as error:
        told = artifact.quoted_error(error)
        raise artifact.ArtifactError(
            f"{path}: not a program ({type(error).__name__}: {told})"
        ) from None
