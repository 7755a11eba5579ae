"""The format of a preprocessed sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


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


def resnet_sample(side: int) -> SampleFormat:
    """For a ResNet's first layer, 7x7 with 3 pixels around, trained with ImageNet's statistics."""
    return SampleFormat(
        height=side,
        width=side,
        pad=(3, 3, 3, 3),
        fill=(124, 116, 104),
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
        std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
    )
