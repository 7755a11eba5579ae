"""How large a 3D U-Net is, by the shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Widths:
    """A 3D U-Net's channels."""

    levels: tuple[int, ...]
    """Channels at each resolution, the finest first."""
    inputs: int
    """Channels of a volume."""
    classes: int

    @property
    def multiple(self) -> int:
        """What the sides of a window must be multiples of."""
        return 1 << (len(self.levels) - 1)

    def macs(self, shape: Sequence[int]) -> int:
        """Multiply-accumulate operations of one window of this shape."""
        voxels = 1
        for size in shape:
            voxels *= size
        finest, levels = self.levels[0], self.levels
        total = voxels * (27 * finest * (self.inputs + finest) + finest * self.classes)
        for level in range(1, len(levels)):
            above, here, at = levels[level - 1], levels[level], voxels >> 3 * level
            total += at * 27 * here * (above + here)  # down
            total += at * 8 * here * above  # the transposed convolution, at its input
            total += at * 8 * 27 * above * 3 * above  # 2C -> C and C -> C, at its output
        return total


KITS19 = Widths((32, 64, 128, 256, 320, 320), inputs=1, classes=3)
BRATS = Widths((32, 64, 128, 256, 320, 320), inputs=4, classes=4)


def of_kits19(shapes: Shapes) -> Widths:
    """The widths of mlcommons/training's Unet3D. Raises KeyError for a name that is absent."""
    first, last = shapes["input_block.conv1.0.weight"], shapes["output.conv.0.weight"]
    count = _count(shapes, r"downsample\.(\d+)\.conv1\.0\.weight")
    down = [shapes[f"downsample.{level}.conv1.0.weight"][0] for level in range(count)]
    levels = (first[0], *down, shapes["bottleneck.conv1.0.weight"][0])
    return Widths(tuple(levels), first[1], last[0])


def of_brats(shapes: Shapes) -> Widths:
    """The widths of nnU-Net's Generic_UNet. Raises KeyError for a name that is absent."""
    up = _count(shapes, r"tu\.(\d+)\.weight")
    context = "conv_blocks_context.{}.blocks.0.conv.weight"
    first = shapes[context.format(0)]
    levels = [shapes[context.format(level)][0] for level in range(up)]
    levels.append(shapes[f"conv_blocks_context.{up}.0.blocks.0.conv.weight"][0])
    return Widths(tuple(levels), first[1], shapes[f"seg_outputs.{max(up - 1, 0)}.weight"][0])


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number that stands in names of this pattern."""
    found = [int(match[1]) for name in shapes if (match := re.fullmatch(pattern, name))]
    return 1 + max(found, default=-1)
