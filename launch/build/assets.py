"""The request for a build and its result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from base.configs import Config

WITHOUT_ARTIFACT = ("null", "sim")
"""Engines that compute nothing."""
_MOST_SAMPLES = 4
"""A batch of cheap samples has at most so many times those of mean ones: more would gain little,
and engines reserve memory for the largest batch."""


@dataclass(frozen=True)
class ArtifactConfig:
    """What `engine` is to execute, in batches of `batch_size` samples at most.

    Where these differ in work, of as much as so many mean samples have (`CostFacts.most_samples`).
    `threads` are those of an instance, and `processors` what one has here, on which what has to be
    measured is measured; none leaves it to the kernel.
    """

    engine: str
    precision: str
    batch_size: int
    threads: int
    processors: list[int]


@dataclass(frozen=True)
class BuildConfig(Config):
    """The wanted files of a model: the samples of its data set, an engine's artifact, or both.

    Paths are absolute; None is the embedded synthetic default. `data` is served, `options` are
    further facts of it (`labels`), int8 ranges are taken from `calibration`.
    """

    model: str
    data: str | None
    weights: str | None
    calibration: str | None
    options: Mapping[str, str]
    samples: bool
    artifact: ArtifactConfig | None
    cache: str

    @property
    def embedded(self) -> bool:
        """Whether a part of the embedded default is needed."""
        data = self.samples and self.data is None
        return data or (self.artifact is not None and self.weights is None)


@dataclass(frozen=True)
class DataFacts:
    """Name, checksum of the content and origin of weights or of a data set."""

    name: str
    sha256: str
    synthetic: bool


@dataclass(frozen=True)
class CostFacts:
    """The work of samples that differ in it, in parts of the mean.

    `quantiles` are equally likely values that stand for all (`loadrun.capacity.quantiles`).
    """

    cheapest: float
    longest: float
    quantiles: list[float]

    def most_samples(self, batch_size: int) -> int:
        """The samples of a batch whose work is that of up to `batch_size` mean ones.

        A batch size of 1 asks for single samples.
        """
        if batch_size == 1:
            return 1
        return math.ceil(batch_size * min(_MOST_SAMPLES, 1 / self.cheapest))


@dataclass(frozen=True)
class SampleFacts:
    """Prepared samples: where they are, how many, how many are new, and of which data.

    `costs` is None where all are the same work.
    """

    path: str
    count: int
    prepared: int
    data: DataFacts
    costs: CostFacts | None = None

    def most_samples(self, batch_size: int) -> int:
        """The samples of a batch at most, of what a user calls `batch_size`."""
        return batch_size if self.costs is None else self.costs.most_samples(batch_size)

    def batch_cost(self, batch_size: int) -> float | None:
        """The most work of a batch, in mean samples; None where samples need only be counted."""
        return None if self.costs is None else float(batch_size)

    def in_words(self, batch_size: int) -> list[str]:
        """What a batch is, as lines for a person; none where samples need only be counted."""
        if self.costs is None or batch_size == 1:
            return []
        return [
            f"  samples take {self.costs.cheapest:.2g} to {self.costs.longest:.2g} times the mean:"
            f" a batch has the work of {batch_size} mean ones at most, in up to"
            f" {self.most_samples(batch_size)} samples"
        ]


@dataclass(frozen=True)
class CacheFile:
    """A file of the cache: `path`, and whether it was built now or found."""

    path: str
    built: bool

    @property
    def key(self) -> str:
        """The end of its name: a hash of everything that shaped it."""
        return self.path.rpartition("-")[2].partition(".")[0]


@dataclass(frozen=True)
class Assets(Config):
    """What was built or found; None is what was not asked for.

    `model` is the variant of the model that the weights are for (see models.for_weights). `files`
    lead to the `artifact`, the first file of what an engine executes. `truth` says where the labels
    come from, or why there are none, with the cure. `notices` are the lines that the user saw.
    """

    model: str
    served: SampleFacts | None
    weights: DataFacts | None
    calibration: SampleFacts | None
    files: list[CacheFile]
    artifact: str | None = None
    truth: str = ""
    notices: list[str] = field(default_factory=list)

    @property
    def samples(self) -> SampleFacts:
        """The samples that are served, where they were asked for."""
        assert self.served is not None
        return self.served
