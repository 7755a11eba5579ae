"""Seeded weights that find something: the embedded default of the detectors (imports torch).

The layers are random, but well-behaved: while a few images pass through, mean and spread of every
channel are set, layer by layer. Residual branches are small beside the trunk, and depthwise kernels
pass most of the picture through; otherwise all places would come to look alike and int8 rounding
would be amplified. The heads' logits are spread so that a few of an image's many anchors are
confident and some more pass the threshold, as with trained weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SEED = 33
MEAN, SPREAD = 0.5, 1.0
"""Of what goes into an activation."""
BRANCH = 0.3
"""Spread of what a residual block adds to the trunk."""
THROUGH = 0.5
"""Spread of the random part of a depthwise kernel; its middle is 1."""
ENOUGH = 256
"""Values of a channel that tell its mean and spread."""
CONFIDENT, CANDIDATES = 40, 400
"""Values of an image above a score of one half, and above the threshold, about."""


@dataclass(frozen=True)
class Heads:
    """Which convolutions make a detector's outputs, and what of."""

    classes: str
    """Part of the names of those that make logits."""
    boxes: str
    logits: int
    """Of an image, all in all."""
    threshold: float
    """The logit of the least score of a detection."""
    codes: float
    """Spread of box codes."""
    background: int | None = None
    """Number of classes, where a constant background is the first of them and the fastest count
    is of boxes."""


class _Seeding:
    """Hooks that give each module its numbers when it is called for the first time."""

    def __init__(self, network: nn.Module, heads: Heads, branches: Sequence[str]) -> None:
        self._heads = heads
        self._generator = torch.Generator().manual_seed(SEED)
        self._done: set[nn.Module] = set()
        self._read: dict[nn.Conv2d, list[Tensor]] = {}
        """What each head of classes was given: it gets its numbers when all levels are known."""
        self._hooks: list[Any] = []
        for name, module in network.named_modules():
            branch = any(name.endswith(end) for end in branches)
            if isinstance(module, nn.Conv2d):
                self._hooks.append(module.register_forward_pre_hook(self._draw))
                if module.bias is not None:
                    self._hooks.append(module.register_forward_hook(self._setter(name, branch)))
            elif isinstance(module, nn.BatchNorm2d):
                self._hooks.append(module.register_forward_hook(self._norm(branch)))

    def finish(self) -> None:
        """Spread the logits, and leave the network as it is."""
        for hook in self._hooks:
            hook.remove()
        for module, given in self._read.items():
            self._spread_logits(module, [module(each) for each in given])

    def _draw(self, module: nn.Conv2d, given: Any) -> None:
        """Random kernels that keep the spread of their input."""
        if module in self._done:
            return
        weight = module.weight
        kernels = torch.randn(weight.shape, generator=self._generator)
        if module.groups == module.in_channels > 1:
            weight.copy_(kernels * THROUGH / 3)
            weight[:, :, 1, 1] += 1
        else:
            weight.copy_(kernels / math.sqrt(weight[0].numel()))
        if module.bias is not None:
            module.bias.zero_()
        else:
            self._done.add(module)

    def _setter(self, name: str, branch: bool) -> Any:
        wide, middle = (BRANCH, 0.0) if branch else (SPREAD, MEAN)
        if self._heads.boxes in name:
            wide, middle = self._heads.codes, 0.0

        def set_convolution(module: nn.Conv2d, given: Any, output: Tensor) -> Tensor | None:
            if self._heads.classes in name:
                self._done.add(module)
                self._read.setdefault(module, []).append(given[0])
            if module in self._done:
                return None
            self._done.add(module)
            spread, mean = _statistics(output)
            _scale(module, wide / spread, middle - mean * wide / spread)
            result: Tensor = module.forward(given[0])
            return result

        return set_convolution

    def _spread_logits(self, module: nn.Conv2d, outputs: list[Tensor]) -> None:
        """Have a few of a head's logits be confident, and some more above the threshold."""
        values = torch.cat([each.transpose(0, 1).flatten(1) for each in outputs], 1)
        spread, mean = _statistics(values[None, :, :, None])
        values = ((values - mean[:, None]) / spread[:, None]).flatten()
        share = len(values) / self._heads.logits
        best = torch.topk(values, max(2, round(CANDIDATES * share))).values
        high, low = float(best[max(0, round(CONFIDENT * share) - 1)]), float(best[-1])
        wide = -self._heads.threshold / max(high - low, 0.1)
        _scale(module, wide / spread, -wide * high - mean * wide / spread)
        if self._heads.background is not None:
            boxes = len(module.weight) // self._heads.background
            module.weight[:boxes] = 0
            assert module.bias is not None
            module.bias[:boxes] = 0

    @staticmethod
    def _norm(branch: bool) -> Any:
        def set_norm(module: nn.BatchNorm2d, given: Any, output: Tensor) -> Tensor:
            spread, mean = _statistics(given[0])
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.copy_(mean)
            module.running_var.copy_(spread**2)
            nn.init.constant_(module.weight, BRANCH if branch else SPREAD)
            nn.init.constant_(module.bias, 0.0 if branch else MEAN)
            scaled = (given[0] - _wide(mean)) / torch.sqrt(_wide(spread) ** 2 + module.eps)
            return scaled * _wide(module.weight) + _wide(module.bias)

        return set_norm


def _statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    """Spread and mean of each channel; of a map of few places those of all channels together."""
    if values[:, 0].numel() < ENOUGH:
        everywhere = values.std().clamp(min=1e-3).expand(values.shape[1])
        return everywhere, torch.zeros(values.shape[1])
    spread, mean = torch.std_mean(values, dim=(0, 2, 3), correction=0)
    return spread.clamp(min=0.1 * float(values.std()) + 1e-6), mean


def _scale(module: nn.Conv2d, factor: Tensor, bias: Tensor) -> None:
    """Multiply a convolution's results, which has no bias yet, and add one."""
    module.weight.mul_(factor[:, None, None, None])
    assert module.bias is not None
    module.bias.copy_(bias)


def _wide(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def seed(network: nn.Module, heads: Heads, branches: Sequence[str], images: Tensor) -> None:
    """Set all numbers of `network` from normalised images, float32 [n, 3, height, width].

    `branches` are ends of the names of layers that end a residual branch. Equal images give equal
    numbers, up to the rounding of sums.
    """
    seeding = _Seeding(network.eval(), heads, branches)
    with torch.no_grad():
        network(images.contiguous(memory_format=torch.channels_last))
        seeding.finish()
