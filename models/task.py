"""What the harness must know of a network: its data, how a batch is answered, how answers score.

A task is one folder of models/, or one file of a user. Importing this module needs numpy alone.

    raw data --DataSet.read--> prepared sample (fields) --> arena --> Batch
    Batch --Task.infer, calling each Part through its engine--> answers --Task.score--> Score
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from models.config_ver import DEFAULT
from models.workers import Progress, silent

if TYPE_CHECKING:
    from models.method import Method
    from models.published import DataFolder, PublishedFile

Network = Any
"""A torch.nn.Module. Not even its type is imported here: loadrun, which never has torch, reads this
module, too."""
CALIBRATION_SAMPLES = 200
"""As many at most, unless a task chooses others."""

NETWORK, ENCODER, TRANSDUCER = "network", "encoder", "transducer"
VOLUMES, RANKING = "volumes", "ranking"
"""Forms of parts."""

Array = npt.NDArray[Any]
Run = Callable[..., Mapping[str, Array]]
"""A part on an engine: inputs and outputs by field name, each [n, ...]; an input may also be given
as a list of its n rows, which an engine that can reads where they lie."""
Answers = Sequence[bytes | Array] | Array
"""Answers to a batch: one item a sample, bytes or an array, whose bytes are the answer; or one
array [n, ...] of which each row is one."""


PATTERNS = {
    "accuracy": r"^accuracy=([\d\.]+).*",
    "WER": r"^Word Error Rate\:.*, accuracy=([\d\.]+)%",
    "F1": r"^{[\"\']exact_match[\"\']\:\s*[\d\.]+,\s*[\"\']f1[\"\']\:\s*([\d\.]+)}",
    "mAP": r"^mAP=([\d\.]+).*",
    "AUC": r"^AUC=([\d\.]+).*",
    "DICE": r"Accuracy\:\s*mean\s*=\s*([\d\.]+).*",
}
"""By metric, what the checkers look for in each line of accuracy.txt, from its beginning.

Source: ACC_PATTERN of the submission checkers of rounds v2.0 to v6.1; where they changed, the form
that all of them take. The accuracy of speech is 100% less the word error rate.
"""


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

    @property
    def sizes(self) -> tuple[int, ...]:
        """The dimensions that do not vary: the whole shape of a fixed field."""
        return tuple(size for size in self.shape if size is not None)


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
    """The metric of the fp32 reference on the whole data set, in percent as Score.value."""
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
    """Compliance tests of the closed division: `TEST01`, `TEST04`."""
    audit_samples: int = 4096
    """Answers that TEST01 logs, about (its accuracy_log_sampling_target)."""
    edge: str = ""
    """Last round with it in the closed division's category edge: `v6.1`; "" where none has.

    With the first one, where rounds that are known had it not yet: `v5.0-v6.1`.
    """
    datacenter: str = ""
    """The same of the category datacenter."""
    official: str = ""
    """What the submission checker calls it, where that is not `name`."""
    precision: str = "int8"
    """The lowest precision that reaches the target, by what is known: a run's default."""

    @property
    def target(self) -> float:
        """What a submission must reach, in percent."""
        return self.reference * self.share

    @property
    def categories(self) -> dict[str, tuple[str, str]]:
        """The categories of systems that the closed division has it in: first and last round.

        The first is "" where all known rounds to the last had it.
        """
        found = {"edge": self.edge, "datacenter": self.datacenter}
        spans = {category: span.rpartition("-") for category, span in found.items() if span}
        return {category: (first, last) for category, (first, _, last) in spans.items()}

    @property
    def drift(self) -> float:
        """How much the metric over the answers that TEST01 logs may differ, in percent of it.

        For answers that depend on what else is in a batch: floats of a low precision.
        """
        return 0.1 if self.share >= 0.999 else 1.0

    @property
    def pattern(self) -> str | None:
        """What the submission checker finds the metric by in accuracy.txt: an expression.

        Its one group is the value. None for a metric that is none of MLPerf's.
        """
        return PATTERNS.get(self.metric)

    @property
    def checker_name(self) -> str:
        """What the submission checker calls it."""
        return self.official or self.name

    def in_memory(self, samples: int) -> int:
        """Samples of a data set of so many that are in memory at once."""
        return min(samples, self.performance_samples or samples)


@dataclass(frozen=True)
class Score:
    """What answers are worth."""

    value: float
    """The metric of the benchmark in percent, higher is better."""
    line: str
    """What MLPerf's accuracy script prints for it."""
    scored: int
    """Samples that were scored."""
    good: int | None = None
    """Those that were answered rightly, where an answer is right or wrong."""
    doubts: tuple[str, ...] = ()
    """Why the value means nothing."""


class DataSet(Protocol):
    """Raw data in LoadGen's order. The truth never leaves it.

    It must be picklable, because several processes prepare its samples: keep paths, and open them
    where they are read. `models.samples` keeps what `read` gave.
    """

    @property
    def name(self) -> str:
        """As people call it."""
        ...

    @property
    def sha256(self) -> str:
        """Of the content of what is served, and of its truth."""
        ...

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a sample consists of, the same for all."""
        ...

    @property
    def synthetic(self) -> bool:
        """Whether it is the embedded default."""
        ...

    @property
    def preparation(self) -> str:
        """Names what `read` makes of the raw data, with a version: `resnet50-2`.

        To be changed when the same raw data would give other samples.
        """
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of it, a line each: files that are not served."""
        ...

    @property
    def truth(self) -> str:
        """Where its truth comes from, or why there is none, with the cure."""
        ...

    @property
    def scored(self) -> bool:
        """Whether it has a truth that answers can be scored by."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Mapping[str, Array]:
        """Preprocess one sample; raises InputError that names the file and what is wrong."""
        ...

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Work of a prepared sample in the task's own unit (tokens, rows, windows, frames)."""
        ...


class Batch(Protocol):
    """What an instance is asked to answer: views into the arena, nothing copied."""

    @property
    def positions(self) -> Sequence[int]:
        """Rows of the arena."""
        ...

    @property
    def indices(self) -> Sequence[int]:
        """LoadGen's sample indices, which detection answers begin with."""
        ...

    @property
    def costs(self) -> Sequence[float]:
        """Work of each sample relative to the mean of the data set."""
        ...

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
    form: str = NETWORK
    """What int8 makes of it: a program of convolutions; with ENCODER a transformer encoder over
    streams of tokens (`models.quantize.encoder`); with TRANSDUCER a part of a recurrent transducer
    (`models.quantize.transducer`); with VOLUMES a program of convolutions in three dimensions, of
    inputs of any size (`models.quantize.volumes`). RANKING is a network with embedding tables,
    which any precision keeps in a file of their own (`netrun.engines.ranking`)."""


def spelled(name: str) -> str:
    """A name as tasks and benchmarks write theirs."""
    return name.lower().replace("_", "-")


def spread(data: DataSet, most: int) -> DataSet:
    """At most `most` samples, evenly spread over all, as a data set of its own."""
    count = len(data)
    return data if count <= most else Chosen(data, tuple(i * count // most for i in range(most)))


@dataclass(frozen=True)
class Chosen:
    """Some of a data set's samples (`DataSet`), in the order of `indices`."""

    data: DataSet
    indices: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the whole's."""
        return self.data.name

    @property
    def sha256(self) -> str:
        """Of the whole's content, and of the choice."""
        return hashlib.sha256(f"{self.data.sha256} {self.indices}".encode()).hexdigest()

    @property
    def fields(self) -> tuple[Field, ...]:
        """As the whole's."""
        return self.data.fields

    @property
    def synthetic(self) -> bool:
        """As the whole's."""
        return self.data.synthetic

    @property
    def preparation(self) -> str:
        """As the whole's."""
        return self.data.preparation

    @property
    def notes(self) -> Sequence[str]:
        """As the whole's."""
        return self.data.notes

    @property
    def truth(self) -> str:
        """A choice is no set to be scored."""
        return "some of its samples were chosen"

    @property
    def scored(self) -> bool:
        """No."""
        return False

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Mapping[str, Array]:
        """Preprocess one of them."""
        return self.data.read(self.indices[index])

    def cost(self, sample: Mapping[str, Array]) -> float:
        """As in the whole."""
        return self.data.cost(sample)


@dataclass(frozen=True)
class Sources:
    """Where data and weights come from: the user's paths, None for the embedded default."""

    data: Path | None = None
    weights: Path | None = None
    calibration: Path | None = None
    cache: Path | None = None
    options: Mapping[str, str] | None = None
    """What a task declares beyond these, e.g. `labels`, `annotations`, `vocab`."""
    reading: Progress = field(default=silent, compare=False)
    """Progress of reading raw data that has to be read before it is prepared."""


class Task(ABC):
    """A network, its data set and its metric."""

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    benchmarks: tuple[Benchmark, ...]
    """The first one is meant where none is named."""
    parts: tuple[Part, ...]
    answer_bytes: int
    """Longest answer to one sample."""
    unit: str = "samples"
    """What `DataSet.cost` counts."""
    items: str = "samples"
    """What people call samples: images, questions, utterances."""
    truths: str = "labels"
    """What they call the truth: labels, annotations, transcripts."""
    stepwise: bool = False
    """Whether a sample is so much work that it is served alone, unless a batch size is given, and
    each row of a part is the work that `DataSet.cost` counts: progress and signs of life are then
    seen within a sample."""
    origin: str = ""
    """Of a variant: whose weights it is for."""
    published: tuple[PublishedFile, ...] = ()
    """Weights that their makers publish; the first is MLPerf's reference."""
    dataset: DataFolder | None = None
    """The official data set: where it is looked for, and how it gets there."""
    network_file: Path | None = None
    """The file that is the network, and its weights, where the task is for just one."""
    like: Task | None = None
    """The task whose data and options it then has."""
    int8: Method | None = None
    """How its parts are quantised, where that is not the way of their form (`quantize.method`)."""

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark of that name, in any spelling; the first one where none is called so."""
        named = (one for one in self.benchmarks if one.name == spelled(name))
        return next(named, self.benchmarks[0])

    def configured(self, config_ver: str) -> Benchmark | None:
        """The benchmark of one of models.config_ver: the first one, or what asks for most accuracy.

        None where no benchmark asks for more than the first.
        """
        first = self.benchmarks[0]
        if config_ver == DEFAULT:
            return first
        strictest = max(self.benchmarks, key=lambda benchmark: benchmark.share)
        return strictest if strictest.share > first.share else None

    def called(self, name: str) -> str:
        """What stands for the benchmark that `name` means, of all tasks' names and benchmarks.

        The task's own name where it has one benchmark, else the benchmark's.
        """
        return self.name if len(self.benchmarks) == 1 else self.benchmark(name).name

    def titled(self, name: str) -> str:
        """The title, with the benchmark that `name` means where there are several."""
        one = len(self.benchmarks) == 1
        return self.title if one else f"{self.title}, {self.benchmark(name).name}"

    @abstractmethod
    def data(self, sources: Sources) -> DataSet:
        """The data set at these paths, or the embedded one. Raises InputError."""

    def calibration(self, sources: Sources) -> DataSet:
        """The samples that int8 ranges are taken from: of those that are served, unless it says."""
        return spread(self.data(sources), CALIBRATION_SAMPLES)

    def weights(self, sources: Sources) -> Path | None:
        """The weights file: the user's, or the embedded one. None where `graph` needs none."""
        return sources.weights

    def embed(self, sources: Sources, progress: Callable[[int, int], None]) -> None:  # noqa: B027
        """Make in the cache what is embedded and takes a while: data or weights not given.

        Called once before the others; they find it, or do without.
        """

    def fitting(self, weights: Path) -> Task:
        """The variant of the task that a weights file is for: other origins, other preprocessing.

        Raises WeightsError where the file cannot be read.
        """
        return self

    @abstractmethod
    def graph(self, part: str, weights: Path | None) -> Network | Path:
        """A part as an fp32 module in evaluation mode, or an ONNX file. Raises WeightsError."""

    def module(self, part: str, weights: Path | None) -> Network | Path:
        """The same for engines that take modules only, where `graph` gives a file.

        Raises WeightsError for a file that cannot be read as a module.
        """
        return self.graph(part, weights)

    def sizes(self, weights: Path | None) -> Mapping[str, Any]:
        """What of the networks' form the weights decide, in JSON values: widths, layers."""
        return {}

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> Network:
        """A part as `graph` gives it, of those sizes, with any values: stored ones replace them."""
        return self.graph(part, None)

    @abstractmethod
    def infer(self, run: Mapping[str, Run], batch: Batch) -> Answers:
        """Answer a batch, in its order, with at most `answer_bytes` a sample (0 is an answer, too).

        What is returned may be used again for the next batch.
        """

    def longest_answer(self, largest: Mapping[str, int]) -> int:
        """Bytes of the longest answer, for which memory is reserved.

        `largest` are the most bytes that a sample has of each field.
        """
        return self.answer_bytes

    @abstractmethod
    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Score answers by sample index; those that are absent are not scored."""
