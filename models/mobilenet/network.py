"""MobileNet-v1 1.0 224 with batch normalisation folded into the convolutions.

Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications
(2017), arXiv:1704.04861, table 1. Padding is TensorFlow's SAME, as the weights were trained: at
stride 2 and even sizes the one padded row and column lie below and to the right.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTWISE = (
    # stride of the depthwise convolution, outputs of the pointwise one behind it
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (2, 1024),
    (1, 1024),
)


class MobileNet(nn.Module):
    """Stem, thirteen pairs of depthwise and pointwise convolutions, classifier.

    `features` holds the 27 convolutions in their order; ReLU6 follows each of them.
    """

    def __init__(self, classes: int = 1001) -> None:
        super().__init__()
        convolutions = [_conv3x3(3, 32, stride=2)]
        channels = 32
        for stride, outputs in POINTWISE:
            convolutions.append(_conv3x3(channels, channels, stride, groups=channels))
            convolutions.append(nn.Conv2d(channels, outputs, 1))
            channels = outputs
        self.features = nn.Sequential(*convolutions)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def pooled(self, x: Tensor) -> Tensor:
        """Return the classifier's input [n, 1024, 1, 1] of normalised images [n, 3, 224, 224]."""
        for convolution in self.features:
            x = activate(convolution, x)
        return F.adaptive_avg_pool2d(x, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [n, classes] of normalised images [n, 3, 224, 224]."""
        return torch.flatten(self.classifier(self.pooled(x)), 1)


def activate(convolution: nn.Module, x: Tensor) -> Tensor:
    """Apply one convolution of `features` with its padding and ReLU6."""
    return F.relu6(convolve(convolution, x))


def convolve(convolution: nn.Module, x: Tensor) -> Tensor:
    """Apply one convolution of `features` with its padding."""
    if convolution.stride == (2, 2):
        x = F.pad(x, (0, 1, 0, 1))
    return convolution(x)


def _conv3x3(inputs: int, outputs: int, stride: int, groups: int = 1) -> nn.Conv2d:
    padding = 1 if stride == 1 else 0
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=padding, groups=groups)
