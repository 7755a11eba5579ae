"""RetinaNet: ResNeXt50-32x4d, a feature pyramid and two heads shared by its five levels.

Structure and parameter names of mlcommons/training's retired_benchmarks/retinanet. Lin et al.,
Focal Loss for Dense Object Detection (2017), arXiv:1708.02002. The frozen batch norms of the
training are plain ones here, which in evaluation compute the same and have the same names.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
CHANNELS = 256
"""Of the pyramid."""
ANCHORS = 9


class Block(nn.Module):
    """A residual block: 1x1, grouped 3x3 (with the stride), 1x1, shortcut."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=GROUPS, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Body(nn.Module):
    """ResNeXt50-32x4d without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(64, 256, blocks=3, stride=1)
        self.layer2 = _layer(256, 512, blocks=4, stride=2)
        self.layer3 = _layer(512, 1024, blocks=6, stride=2)
        self.layer4 = _layer(1024, 2048, blocks=3, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at strides 8, 16 and 32."""
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)


def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    inner = outputs // 2
    first = Block(inputs, inner, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, inner, outputs, 1) for _ in range(blocks - 1)))


class Coarse(nn.Module):
    """The two levels above the body's last."""

    def __init__(self) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)

    def forward(self, p5: Tensor) -> tuple[Tensor, Tensor]:
        """Return P6 and P7."""
        p6 = self.p6(p5)
        return p6, self.p7(F.relu(p6))


class Pyramid(nn.Module):
    """Features of all levels with the same number of channels, fine ones enriched by coarse."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (512, 1024, 2048)
        self.inner_blocks = nn.ModuleList(nn.Conv2d(n, CHANNELS, 1) for n in inputs)
        self.layer_blocks = nn.ModuleList(
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in inputs
        )
        self.extra_blocks = Coarse()

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Yield the levels as they become ready: P5, P6, P7, P4, P3, each with its number."""
        c3, c4, c5 = features
        inner5 = self.inner_blocks[2](c5)
        p5 = self.layer_blocks[2](inner5)
        yield 5, p5
        p6, p7 = self.extra_blocks(p5)
        yield 6, p6
        yield 7, p7
        inner4 = _merged(self.inner_blocks[1](c4), inner5)
        yield 4, self.layer_blocks[1](inner4)
        inner3 = _merged(self.inner_blocks[0](c3), inner4)
        yield 3, self.layer_blocks[0](inner3)


def _merged(lateral: Tensor, coarse: Tensor) -> Tensor:
    return lateral + F.interpolate(coarse, size=lateral.shape[-2:], mode="nearest")


class Backbone(nn.Module):
    """Body and pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Body()
        self.fpn = Pyramid()

    def forward(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the pyramid's levels, each with its number."""
        yield from self.fpn(self.body(x))


class _Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)


class ClassificationHead(_Tower):
    """Logits of every class for every anchor."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.cls_logits = nn.Conv2d(CHANNELS, ANCHORS * classes, 3, padding=1)

    def forward(self, level: Tensor) -> Tensor:
        """Return [n, h, w, anchors * classes]."""
        return self.cls_logits(self.conv(level)).permute(0, 2, 3, 1)


class RegressionHead(_Tower):
    """Box codes for every anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.bbox_reg = nn.Conv2d(CHANNELS, ANCHORS * 4, 3, padding=1)

    def forward(self, level: Tensor) -> Tensor:
        """Return [n, h, w, anchors * 4]."""
        return self.bbox_reg(self.conv(level)).permute(0, 2, 3, 1)


class Head(nn.Module):
    """Both heads."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classification_head = ClassificationHead(classes)
        self.regression_head = RegressionHead()


class RetinaNet(nn.Module):
    """The whole network."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = Head(classes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits of P3 to P7, then their box codes, each [n, h, w, channels]."""
        # A level's heads read it while it is in the cache.
        logits, codes = {}, {}
        for number, level in self.backbone(x):
            logits[number] = self.head.classification_head(level)
            codes[number] = self.head.regression_head(level)
        return tuple(found[number] for found in (logits, codes) for number in sorted(found))
