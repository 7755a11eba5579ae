"""What the harness must know of a network: its data, how a batch is answered, how answers score.

A task is one folder of models/, or one file of a user. Importing this module needs numpy alone.

    raw data --DataSet.read--> prepared sample (fields) --> arena --> Batch
    Batch --Task.infer, calling each Part through its engine--> answers --Task.score--> Score
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
Run = Callable[..., Mapping[str, Array]]
"""A part on an engine: inputs and outputs by field name, each [n, ...]; an input may also be given
as a list of its n rows, which an engine that can reads where they lie."""


@dataclass(frozen=True)
class Field:
    """One named tensor of a sample, or one input or output of a part."""

    name: str
    dtype: str
    """As NumPy spells it, little-endian: `|u1`, `<i4`, `<f4`."""
    shape: tuple[int | None, ...]
    """Of one sample; None where it varies from sample to sample."""

    @property
    def fixed(self) -> bool:
        """Whether every sample has the same shape."""
        return None not in self.shape


@dataclass(frozen=True)
class Benchmark:
    """A row of MLPerf's tables for a task; figures from the rules and mlperf.conf."""

    name: str
    """As users and submissions name it: `bert-99.9`."""
    conf: str
    """Its key in mlperf.conf and user.conf: `bert`."""
    metric: str
    """What is scored: `F1`."""
    reference: float
    """The metric of the fp32 reference on the whole data set, in the unit of Score.value."""
    share: float
    """Fraction of the reference that a submission must reach."""
    scenarios: tuple[str, ...]
    """Official ones, as LoadGen spells them."""
    samples: int
    """Size of the official data set."""
    performance_samples: int
    """Samples that LoadGen draws from in a performance run; 0 is the whole set."""
    offline_samples: int = 24_576
    """Fewest samples of a valid Offline run."""
    server_ms: float | None = None
    """Latency limit in Server; None where that scenario is not official."""
    audits: tuple[str, ...] = ()
    """Compliance tests: `TEST01`, `TEST04`."""


@dataclass(frozen=True)
class Score:
    """What answers are worth."""

    value: float
    """The metric of the benchmark, higher is better."""
    line: str
    """What MLPerf's accuracy script prints for it."""
    scored: int
    """Samples that were scored."""


class DataSet(Protocol):
    """Raw data in LoadGen's order. The truth never leaves it."""

    name: str
    sha256: str
    """Of the content of what is served, and of its truth."""
    fields: tuple[Field, ...]
    synthetic: bool

    def __len__(self) -> int: ...

    def read(self, index: int) -> Mapping[str, Array]:
        """Preprocess one sample; raises InputError that names the file and what is wrong."""
        ...

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Work of a prepared sample in the task's own unit (tokens, rows, windows, frames)."""
        ...


class Batch(Protocol):
    """What an instance is asked to answer: views into the arena, nothing copied."""

    positions: Sequence[int]
    """Rows of the arena."""
    indices: Sequence[int]
    """LoadGen's sample indices, which detection answers begin with."""

    def __len__(self) -> int: ...

    def views(self, field: str) -> list[Array]:
        """One array a sample, of its own shape."""
        ...

    def stacked(self, field: str) -> Array:
        """All samples as [n, ...], for a fixed shape; a view where rows are neighbours."""
        ...

    def padded(self, field: str, to: int, fill: int = 0) -> Array:
        """All samples as [n, to], for one varying dimension, filled up at the end."""
        ...


@dataclass(frozen=True)
class Part:
    """One graph of a task that an engine compiles and runs."""

    name: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    buckets: tuple[int, ...] = ()
    """Lengths of a varying dimension that an engine may prepare itself for."""


@dataclass(frozen=True)
class Sources:
    """Where data and weights come from: the user's paths, None for the embedded default."""

    data: Path | None = None
    weights: Path | None = None
    calibration: Path | None = None
    cache: Path | None = None
    options: Mapping[str, str] | None = None
    """What a task declares beyond these, e.g. `labels`, `annotations`, `vocab`."""


class Task(ABC):
    """A network, its data set and its metric."""

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    benchmarks: tuple[Benchmark, ...]
    parts: tuple[Part, ...]
    answer_bytes: int
    """Longest answer to one sample."""
    unit: str = "samples"
    """What `DataSet.cost` counts."""

    @abstractmethod
    def data(self, sources: Sources) -> DataSet:
        """The data set at these paths, or the embedded one. Raises InputError."""

    @abstractmethod
    def graph(self, part: str, weights: Path | None) -> torch.nn.Module | Path:
        """A part as an fp32 module in evaluation mode, or an ONNX file. Raises WeightsError."""

    @abstractmethod
    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[bytes | Array]:
        """Answer a batch: one item a sample, in its order, at most `answer_bytes` each."""

    @abstractmethod
    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Score answers by sample index; those that are absent are not scored."""
