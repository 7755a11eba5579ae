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

if TYPE_CHECKING:
    import torch

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
Payload = npt.NDArray[Any]


@dataclass(frozen=True)
class SampleFormat:
    """A preprocessed sample in the arena: raw uint8 RGB pixels, height x width x channel.

    The border that the network's first convolution needs is already around the pixels, so that
    this convolution runs without padding; the normalisation (pixel - mean) / std folds into its
    weights. Nothing is converted per batch.
    """

    height: int
    width: int
    pad: tuple[int, int, int, int]
    """Border in pixels: top, bottom, left, right."""
    fill: tuple[int, int, int]
    """Value of a border pixel: the nearest to what normalises to zero."""
    mean: tuple[float, float, float]
    """Per channel, in pixel units (0..255)."""
    std: tuple[float, float, float]
    """Per channel, in pixel units."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a sample with its border."""
        top, bottom, left, right = self.pad
        return self.height + top + bottom, self.width + left + right, 3

    def bordered(self, pixels: Pixels) -> Pixels:
        """Return pixels [height, width, 3] with the border around them: a whole sample."""
        if pixels.shape != (self.height, self.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(
                f"pixels are {pixels.dtype}{list(pixels.shape)}, "
                f"expected uint8{[self.height, self.width, 3]}"
            )
        sample = np.empty(self.shape, np.uint8)
        sample[:] = self.fill
        self.interior(sample)[:] = pixels
        return sample

    def interior(self, samples: Pixels) -> Pixels:
        """Return the view [..., height, width, 3] of samples [..., *shape] without border."""
        top, _, left, _ = self.pad
        return samples[..., top : top + self.height, left : left + self.width, :]

    def normalise(self, samples: Pixels) -> npt.NDArray[np.float32]:
        """Return the network's input float32 [n, 3, height, width] of samples uint8 [n, *shape].

        The operations and their order are those of the reference (torchvision's to_tensor and
        normalize), each rounded to float32: pixel / 255, minus mean, divided by std.
        """
        levels = np.arange(256, dtype=np.float32) / np.float32(255)
        interior = self.interior(samples)
        planes = np.empty((len(samples), 3, self.height, self.width), np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            table = (levels - np.float32(mean / 255)) / np.float32(std / 255)
            np.take(table, interior[..., channel], out=planes[:, channel])
        return planes


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
