"""What a model offers: its names, its sample format, pre- and postprocessing, its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.published import PublishedFile
from models.sample import Pixels, SampleFormat

if TYPE_CHECKING:
    import torch

Logits = npt.NDArray[np.float32]
Payload = npt.NDArray[Any]


@dataclass(frozen=True)
class Model(ABC):
    """A network with everything a run needs to know of it."""

    name: str
    title: str
    mlperf_name: str
    """The name by which mlperf.conf and user.conf know the model."""
    aliases: tuple[str, ...]
    sample: SampleFormat
    classes: int
    """Outputs of the network for a sample."""
    response_bytes: int
    """Longest response to one sample."""
    fp32_accuracy: float
    """MLPerf's reference accuracy of the fp32 network on the whole data set, 0..1."""
    quality_target: float
    """Fraction of fp32_accuracy that a submission must reach."""
    preprocessing: str
    """Version of the preprocessing; part of the key of a cache of samples."""
    performance_sample_count: int = field(default=1024, kw_only=True)
    """Samples that LoadGen draws from in a performance run (MLPerf's for this data set)."""
    server_latency_ms: float | None = field(default=None, kw_only=True)
    """MLPerf's Server latency limit, for information: mlperf.conf and user.conf govern."""

    published: tuple[PublishedFile, ...] = field(default=(), kw_only=True)
    """Weights that `loadrun fetch` gets; the first is MLPerf's reference."""

    @abstractmethod
    def preprocess(self, path: Path) -> Pixels:
        """Return the sample uint8 [*sample.shape] of an image file. Raises InputError."""

    @abstractmethod
    def postprocess(self, logits: Logits) -> tuple[Payload, Sequence[int] | int]:
        """Turn the network's outputs into responses.

        Returns the responses of all samples, one behind the other, and the bytes of each (one
        figure if all are equally long).
        """

    @abstractmethod
    def network(self) -> torch.nn.Module:
        """Return the untrained fp32 network, in evaluation mode.

        Its input is float32 [n, 3, height, width], normalised; its output float32 [n, classes].
        """

    def load_weights(self, path: Path) -> torch.nn.Module:
        """Return the network with the weights of a file, as fp32. Raises WeightsError."""
        from models.weights.load import load_into

        return load_into(self.network(), path, self.sample)
