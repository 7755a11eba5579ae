"""Choosing the range of an activation: the one with the least squared quantisation error.

A larger range rounds coarser, a smaller one clips more. The observer keeps a histogram of
magnitudes over all calibration batches and, at the end, tries thresholds up to the largest value
seen (Sung et al., Resiliency of Deep Neural Networks under Quantization, 2015, section 2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchao.quantization.pt2e.observer import UniformQuantizationObserverBase

BINS = 4096
CANDIDATES = 160
SMALLEST = 0.2  # of the largest value seen
SAMPLED = 1 << 18  # values per batch that enter the histogram


class LeastErrorObserver(UniformQuantizationObserverBase):  # type: ignore[misc]
    """Observes magnitudes; zero point 0, scale = threshold / largest stored integer.

    The histogram counts a regular subset of each batch (a quarter of a million values, all
    channels) without exact zeros, which every scale represents. When a larger value appears than
    the histogram reaches, neighbouring bins are merged until it fits, so nothing is approximated.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        qscheme: torch.qscheme,
        quant_min: int,
        quant_max: int,
        **ignored: object,
    ) -> None:
        super().__init__(dtype, qscheme, False, quant_min, quant_max)
        self.counts = torch.zeros(BINS, dtype=torch.float64)
        self.reach = 0.0  # upper end of the last bin
        self.largest = 0.0

    def forward(self, value: Tensor) -> Tensor:
        """Count the magnitudes of `value` (any shape); returns it unchanged."""
        dense = value.detach()
        if dense.dim() == 4:  # channels last in memory: flattening is free
            dense = dense.permute(0, 2, 3, 1)
        dense = dense.reshape(-1)
        # An odd step visits every channel of the usual even channel counts.
        magnitudes = dense[:: max(1, len(dense) // SAMPLED) | 1].abs()
        low, high = torch.aminmax(dense)
        self.largest = max(self.largest, float(high), -float(low))
        if self.largest > 0:
            self._extend()
            nonzero = magnitudes[magnitudes > 0]
            self.counts += torch.histc(nonzero, BINS, 0.0, self.reach).double()
        return value

    def _extend(self) -> None:
        if self.reach == 0.0:
            self.reach = self.largest
        while self.reach < self.largest:
            merged = self.counts.view(-1, 2).sum(1)
            self.counts = torch.cat([merged, torch.zeros_like(merged)])
            self.reach *= 2

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The scale with the least squared error over the histogram, and zero point 0."""
        zero_point = torch.zeros(1, dtype=torch.int64)
        if self.largest == 0.0:
            return torch.ones(1), zero_point
        centres = (torch.arange(BINS, dtype=torch.float64) + 0.5) * (self.reach / BINS)
        thresholds = torch.linspace(SMALLEST, 1.0, CANDIDATES, dtype=torch.float64) * self.largest
        scales = (thresholds / self.quant_max).view(-1, 1)
        stored = torch.clamp(torch.round(centres / scales), max=self.quant_max)
        errors = (self.counts * (centres - stored * scales) ** 2).sum(1)
        return scales[int(errors.argmin())].float(), zero_point
