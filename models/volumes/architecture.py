"""The two 3D U-Nets as what a weights file can be for (imports torch)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models.volumes.networks import GenericUNet, Unet3D
from models.volumes.widths import Shapes, Widths, of_brats, of_kits19


@dataclass(frozen=True)
class Architecture:
    """One of the two networks."""

    make: Callable[[Widths], nn.Module]
    widths: Callable[[Shapes], Widths]
    """By the shapes of a state; KeyError for a name that is absent."""
    anchors: tuple[str, ...]
    """Names that are there whatever the widths; the first and the last layer's."""
    maker: str


KITS19 = Architecture(
    Unet3D,
    of_kits19,
    ("input_block.conv1.0.weight", "output.conv.0.weight"),
    "mlcommons/training's Unet3D",
)
BRATS = Architecture(
    GenericUNet,
    of_brats,
    ("conv_blocks_context.0.blocks.0.conv.weight", "seg_outputs.0.weight"),
    "nnU-Net's Generic_UNet",
)
