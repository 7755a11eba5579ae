"""A network over prepared pixels: what the samples in the arena are, to what the network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from models.sample import SampleFormat


class OverPixels(nn.Module):
    """`network`, which takes float32 [n, 3, height, width], over samples uint8 [n, *sample.shape].

    The border is cut off, and pixels are normalised by the operations of
    `SampleFormat.normalise`. Quantisation takes both into the network's first layer instead.
    """

    def __init__(self, network: nn.Module, sample: SampleFormat) -> None:
        super().__init__()
        self.network = network
        self.sample = sample
        top, _, left, _ = sample.pad
        self._rows = slice(top, top + sample.height)
        self._columns = slice(left, left + sample.width)
        # No buffers: they keep their precision, whatever becomes of the network's.
        self._mean, self._std = (
            torch.from_numpy(np.float32(np.divide(values, 255))).view(3, 1, 1)
            for values in (sample.mean, sample.std)
        )

    def forward(self, image: Tensor) -> Tensor:
        """The network's outputs for a batch of samples."""
        pixels = image[:, self._rows, self._columns].permute(0, 3, 1, 2).float() / 255
        outputs: Tensor = self.network((pixels - self._mean) / self._std)
        return outputs
