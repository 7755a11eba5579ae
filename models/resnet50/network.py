"""ResNet-50 v1.5: structure and parameter names of torchvision's resnet50.

He et al., Deep Residual Learning for Image Recognition (2015), arXiv:1512.03385. Version 1.5
strides in the 3x3 convolution of a block instead of in the 1x1 before it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EXPANSION = 4


class Bottleneck(nn.Module):
    """A residual block: 1x1 reduction, 3x3 (with the stride), 1x1 expansion, shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, 4 * width, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + shortcut)


class ResNet50(nn.Module):
    """Stem, four stages of 3, 4, 6 and 3 bottleneck blocks, global average, classifier."""

    def __init__(self, classes: int = 1000, same_pooling: bool = False) -> None:
        """`same_pooling`: pad the max pooling as TensorFlow's SAME, below and on the right only."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        padding = 0 if same_pooling else 1
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=padding, ceil_mode=same_pooling)
        self.layer1 = _stage(64, 64, blocks=3, stride=1)
        self.layer2 = _stage(256, 128, blocks=4, stride=2)
        self.layer3 = _stage(512, 256, blocks=6, stride=2)
        self.layer4 = _stage(1024, 512, blocks=3, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * EXPANSION, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the classifier's input [n, 2048] of normalised images [n, 3, h, w]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [n, classes] of normalised images [n, 3, h, w]."""
        return self.fc(self.features(x))


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, width, stride)
    rest = [Bottleneck(width * EXPANSION, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
