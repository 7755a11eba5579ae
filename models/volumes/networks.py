"""The two 3D U-Nets in float32, under the names of their published weights (imports torch).

Both halve the resolution at each level by a stride, double it by a transposed convolution, and put
what comes from below before what was kept of the way down. Norms are over each window by itself, in
evaluation too: they cannot be folded into convolutions.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.volumes.widths import BRATS, KITS19, Widths

SLOPE = 0.01
"""Of BraTS's leaky ReLU."""
BELOW = 0.2
"""How much seeded networks take of the coarser level, whose weights no training has made sense of;
details come from what was kept of the way down, as in a trained one."""


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.ReLU(inplace=True),
    )


class _Pair(nn.Module):
    """Two blocks; the first one may halve the resolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _block(inputs, outputs, stride)
        self.conv2 = _block(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, D, H, W] to [n, outputs, D / stride, ...]."""
        out: Tensor = self.conv2(self.conv1(x))
        return out


class _Up(nn.Module):
    """Double the resolution, join with what was kept, two blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.upsample_conv = nn.Sequential(nn.ConvTranspose3d(inputs, outputs, 2, 2))
        self.conv1 = _block(2 * outputs, outputs)
        self.conv2 = _block(outputs, outputs)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        """[n, inputs, D, H, W] and [n, outputs, 2 D, ...] to the latter's shape."""
        out: Tensor = self.conv2(self.conv1(torch.cat((self.upsample_conv(x), kept), 1)))
        return out


class _Output(nn.Module):
    """Logits."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv3d(inputs, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, D, H, W] to [n, classes, D, H, W]."""
        out: Tensor = self.conv(x)
        return out


class Unet3D(nn.Module):
    """mlcommons/training's, for KiTS19."""

    def __init__(self, widths: Widths = KITS19) -> None:
        super().__init__()
        self.widths = widths
        levels = widths.levels
        self.input_block = _Pair(widths.inputs, levels[0], 1)
        steps = list(pairwise(levels))
        self.downsample = nn.ModuleList(_Pair(*step, 2) for step in steps[:-1])
        self.bottleneck = _Pair(*steps[-1], 2)
        self.upsample = nn.ModuleList(_Up(below, above) for above, below in reversed(steps))
        self.output = _Output(levels[0], widths.classes)

    def forward(self, image: Tensor) -> Tensor:
        """[n, inputs, D, H, W], sides multiples of `widths.multiple`, to [n, classes, ...]."""
        x = self.input_block(image)
        kept = [x]
        for down in self.downsample:
            x = down(x)
            kept.append(x)
        x = self.bottleneck(x)
        for up in self.upsample:
            x = up(x, kept.pop())
        logits: Tensor = self.output(x)
        return logits


class _ConvNorm(nn.Module):
    """A convolution with bias, a norm, a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride, padding=1)
        self.instnorm = nn.InstanceNorm3d(outputs, affine=True)
        self.lrelu = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, D, H, W] to [n, outputs, D / stride, ...]."""
        out: Tensor = self.lrelu(self.instnorm(self.conv(x)))
        return out


class _Stacked(nn.Module):
    """Some of them in a row; the first one may halve the resolution."""

    def __init__(self, inputs: int, outputs: int, count: int, stride: int = 1) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _ConvNorm(inputs, outputs, stride),
            *(_ConvNorm(outputs, outputs, 1) for _ in range(count - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, D, H, W] to [n, outputs, D / stride, ...]."""
        out: Tensor = self.blocks(x)
        return out


class GenericUNet(nn.Module):
    """nnU-Net's Generic_UNet as MLPerf has it for BraTS: logits, of the finest level alone.

    Heads of the coarser levels served its training; their weights are in the published files.
    """

    def __init__(self, widths: Widths = BRATS) -> None:
        super().__init__()
        self.widths = widths
        levels = widths.levels
        steps = list(pairwise(levels))
        lowest = nn.Sequential(
            _Stacked(*steps[-1], count=1, stride=2), _Stacked(levels[-1], levels[-1], count=1)
        )
        self.conv_blocks_context = nn.ModuleList(
            [
                _Stacked(widths.inputs, levels[0], count=2),
                *(_Stacked(*step, count=2, stride=2) for step in steps[:-1]),
                lowest,
            ]
        )
        upward = [above for above, _ in reversed(steps)]
        self.conv_blocks_localization = nn.ModuleList(
            nn.Sequential(_Stacked(2 * above, above, count=1), _Stacked(above, above, count=1))
            for above in upward
        )
        self.tu = nn.ModuleList(
            nn.ConvTranspose3d(below, above, 2, 2, bias=False) for above, below in reversed(steps)
        )
        self.seg_outputs = nn.ModuleList(
            nn.Conv3d(above, widths.classes, 1, bias=False) for above in upward
        )

    def forward(self, image: Tensor) -> Tensor:
        """[n, inputs, D, H, W], sides multiples of `widths.multiple`, to [n, classes, ...]."""
        x, kept = image, []
        for down in self.conv_blocks_context:
            x = down(x)
            kept.append(x)
        kept.pop()
        for up, localization in zip(self.tu, self.conv_blocks_localization, strict=True):
            x = localization(torch.cat((up(x), kept.pop()), 1))
        logits: Tensor = self.seg_outputs[-1](x)
        return logits


def seed(network: nn.Module, number: int) -> None:
    """Draw all weights: He's, so that what goes through keeps its size."""
    random = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for module in OrderedDict(network.named_modules()).values():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                weight = module.weight
                reads = weight[0].numel() if isinstance(module, nn.Conv3d) else weight.shape[0]
                share = 1.0 if isinstance(module, nn.Conv3d) else BELOW
                weight.normal_(0, share * (2 / reads) ** 0.5, generator=random)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=random)
            elif isinstance(module, nn.InstanceNorm3d):
                module.weight.uniform_(0.7, 1.3, generator=random)
                module.bias.normal_(0, 0.2, generator=random)
