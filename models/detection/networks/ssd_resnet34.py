"""SSD-ResNet34: a ResNet-34 up to its third layer, five pairs of convolutions, heads of stride 3.

Structure and parameter names of mlcommons/inference's models/ssd_r34.py. Liu et al., SSD: Single
Shot MultiBox Detector (2015), arXiv:1512.02325. The third layer keeps the resolution of the second.
"""

from __future__ import annotations

from torch import Tensor, nn

BOXES = (4, 6, 6, 6, 4, 4)
CHANNELS = (256, 512, 512, 256, 256, 256)
"""Of the feature maps, by level."""
INNER = (256, 256, 128, 128, 128)
"""Between the two convolutions that lead from one map to the next."""
STRIDES = (2, 2, 2, 2, 1)
PADDING = (1, 1, 1, 0, 0)


class Block(nn.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))


class Body(nn.Module):
    """The part of a ResNet-34; names are the places in the reference's sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            _layer(64, 64, blocks=3, stride=1),
            _layer(64, 128, blocks=4, stride=2),
        )
        self.layer2 = nn.Sequential(_layer(128, 256, blocks=6, stride=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, 3, h, w] to [n, 256, h / 8, w / 8]."""
        features: Tensor = self.layer2(self.layer1(x))
        return features


class SSDResNet34(nn.Module):
    """The whole network."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = Body()
        self.additional_blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, inner, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(inner, outputs, 3, stride=stride, padding=padding),
                nn.ReLU(inplace=True),
            )
            for inputs, inner, outputs, stride, padding in zip(
                CHANNELS, INNER, CHANNELS[1:], STRIDES, PADDING, strict=False
            )
        )
        self.loc = nn.ModuleList(_head(n, 4 * b) for n, b in zip(CHANNELS, BOXES, strict=True))
        self.conf = nn.ModuleList(
            _head(n, classes * b) for n, b in zip(CHANNELS, BOXES, strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Box codes of six maps, [n, h, w, 4 * boxes], then logits, [n, h, w, classes * boxes].

        Channels count coordinates or classes first, then boxes.
        """
        x = self.model(x)
        boxes, classes = [], []
        for level, (loc, conf) in enumerate(zip(self.loc, self.conf, strict=True)):
            if level:
                x = self.additional_blocks[level - 1](x)
            boxes.append(loc(x).permute(0, 2, 3, 1))
            classes.append(conf(x).permute(0, 2, 3, 1))
        return (*boxes, *classes)


def _head(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=3, padding=1)
